// Reads lines of JSON {secret, headers, body (base64)} and answers each with {"ok": whether its signature is right}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { Webhook } = createRequire(`${process.argv[2]}/`)("standardwebhooks");
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  let ok = true;
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
  } catch {
    ok = false;
  }
  process.stdout.write(`${JSON.stringify({ ok })}\n`);
}
