// Uses the types that openapi-typescript made: argv has the gateway's address and a key. Prints what came back.
import createClient from "openapi-fetch";
import type { paths } from "./api";

declare const process: { argv: string[] };
const [, , baseUrl, key] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

const found = await client.GET("/v1/skills/search", { params: { query: { q: "create issue", limit: 1 } } });
const params = { repo: "acme/webapp", title: "Bug report", labels: ["bug"] };
const opened = await client.POST("/v1/github/create_issue", { body: { params } });
const refused = await client.POST("/v1/github/create_issue", { body: { params: { ...params, title: "" } } });
// The types know the params of the action: this is never run, and would not compile if they did not.
// @ts-expect-error
const mistyped = () => client.POST("/v1/github/create_issue", { body: { params: { repo: "acme/webapp", titel: "x" } } });

const data = opened.data && "data" in opened.data ? (opened.data.data as { title: string }) : undefined;
const met = {
  found: found.data?.skills.map((skill) => skill.action),
  opened: [opened.data && "data" in opened.data ? opened.data.status : undefined, data?.title],
  refused: [refused.error?.error, refused.error?.message],
};
console.log(JSON.stringify(met));
