// Logs in as a device with the npm package openid-client: argv has the folder of the package and the gateway's address.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , folder, gateway] = process.argv;
const installed = createRequire(join(folder, "package.json"));
const client = await import(pathToFileURL(installed.resolve("openid-client")));

const server = {
  issuer: gateway,
  device_authorization_endpoint: `${gateway}/auth/device/code`,
  token_endpoint: `${gateway}/auth/device/token`,
};
const config = new client.Configuration(server, "any-client");
client.allowInsecureRequests(config);

const begun = await client.initiateDeviceAuthorization(config, { scope: "whatever" });
console.log(JSON.stringify(begun));
try {
  console.log(JSON.stringify(await client.pollDeviceAuthorizationGrant(config, begun)));
} catch (error) {
  console.log(JSON.stringify({ failed: error.error ?? error.message, description: error.error_description }));
}
