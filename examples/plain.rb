# Plain Ruby, the standard library alone: find an action, call it, tell the two kinds of refusal apart.
#
# Needs SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.

require "json"
require "net/http"

URL = ENV.fetch("SKILLWAY_URL", "http://127.0.0.1:8700")
HEADERS = { "Authorization" => "Bearer #{ENV.fetch("SKILLWAY_API_KEY")}", "Content-Type" => "application/json" }

def ask(path, body = nil)
  uri = URI(URL + path)
  answer = body ? Net::HTTP.post(uri, body.to_json, HEADERS) : Net::HTTP.get_response(uri, HEADERS)
  JSON.parse(answer.body)
end

found = ask("/v1/skills/search?q=create+issue&limit=1")
puts found["skills"].map { |skill| "#{skill["integration"]}.#{skill["action"]}" }.inspect

body = ask("/v1/github/create_issue", { params: { repo: "acme/webapp", title: "The login page is slow" } })
abort "#{body["message"]} #{body["action_url"]}" if body["error"] # the gateway has no answer, and says why
abort body["data"].to_json if body["status"] >= 400 # GitHub answered, and said no
puts body["data"]["html_url"]
