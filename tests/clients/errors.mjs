const response = await fetch(`${BASE}/v1/github/create_issue`, {
  method: "POST",
  headers: { ...headers, "Content-Type": "application/json" },
  body: JSON.stringify({ params }),
});

const body = await response.json();

if (body.error) {
  // Skillett-level error (auth, plan limit, not connected)
  console.error(body.message);
  if (body.action_url) {
    console.error(`Fix: ${body.action_url}`);
  }
} else if (body.status >= 400) {
  // Upstream API error (GitHub returned 404, etc.)
  console.error(body.data);
} else {
  // Success
  console.log(body.data);
}
