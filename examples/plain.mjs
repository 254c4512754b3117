// Plain JavaScript, for Node 18 and newer: find an action, call it, tell the two kinds of refusal apart.
//
// Needs SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.

const url = process.env.SKILLWAY_URL ?? "http://127.0.0.1:8700";
const headers = { Authorization: `Bearer ${process.env.SKILLWAY_API_KEY}`, "Content-Type": "application/json" };

async function ask(path, body) {
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  return (await fetch(url + path, options)).json();
}

const { skills } = await ask("/v1/skills/search?q=create+issue&limit=1");
console.log(skills.map((skill) => `${skill.integration}.${skill.action}`));

const body = await ask("/v1/github/create_issue", { params: { repo: "acme/webapp", title: "The login page is slow" } });
if (body.error) {
  // The gateway has no answer, and says why.
  console.error(body.message, body.action_url ?? "");
  process.exitCode = 1;
} else if (body.status >= 400) {
  // GitHub answered, and said no.
  console.error(body.data);
  process.exitCode = 1;
} else {
  console.log(body.data.html_url);
}
