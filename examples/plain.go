// Plain Go, the standard library alone: call an action, tell the two kinds of refusal apart. `go run plain.go`
//
// Needs SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	url := os.Getenv("SKILLWAY_URL")
	if url == "" {
		url = "http://127.0.0.1:8700"
	}
	call := strings.NewReader(`{"params": {"repo": "acme/webapp", "title": "The login page is slow"}}`)
	request := must(http.NewRequest("POST", url+"/v1/github/create_issue", call))
	request.Header.Set("Authorization", "Bearer "+os.Getenv("SKILLWAY_API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response := must(http.DefaultClient.Do(request))
	defer response.Body.Close()

	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		log.Fatal(err)
	}
	if body["error"] != nil { // the gateway has no answer, and says why
		log.Fatal(body["message"], " ", body["action_url"])
	}
	if body["status"].(float64) >= 400 { // GitHub answered, and said no
		log.Fatal(body["data"])
	}
	fmt.Println(body["data"].(map[string]any)["html_url"])
}
