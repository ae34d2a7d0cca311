// A SPIFFE Workload API by grpc-js and protobuf.js: it streams what it is told, and refuses as the specification says.
//
// Arguments: the address to listen at, the .proto file. Each line of standard input is an order, a JSON object:
//   {"svids": [...], "federated_bundles": {...}}  stream this state from now on; octets in base64
//   {"code": 7}                                   end every stream, and those that come, with this gRPC code
// It prints {"event": "listening"}, and {"event": "call", "header": ...} for each call that it gets.
"use strict";

const readline = require("node:readline");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, proto] = process.argv.slice(2);
const definition = loader.loadSync(proto, { keepCase: true });
const { SpiffeWorkloadAPI } = grpc.loadPackageDefinition(definition);

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const octets = (text) => Buffer.from(text || "", "base64");

const streams = new Set();
let state = null;
let code = null;

function update(stream) {
  if (code !== null) {
    streams.delete(stream);
    stream.emit("error", { code, details: "as ordered" });
  } else if (state !== null) {
    stream.write(state);
  }
}

function fetch(stream) {
  const header = stream.metadata.get("workload.spiffe.io");
  tell({ event: "call", header, authority: stream.getHost() });
  if (header.length !== 1 || header[0] !== "true") {
    stream.emit("error", { code: grpc.status.INVALID_ARGUMENT, details: "security header missing from request" });
    return;
  }
  streams.add(stream);
  stream.on("cancelled", () => streams.delete(stream));
  update(stream);
}

function obey(order) {
  code = order.code ?? null;
  if (code === null) {
    const svids = order.svids.map((svid) => ({
      spiffe_id: svid.spiffe_id,
      x509_svid: octets(svid.chain),
      x509_svid_key: octets(svid.key),
      bundle: octets(svid.bundle),
      hint: svid.hint,
    }));
    const federated = Object.entries(order.federated_bundles || {}).map(([name, bundle]) => [name, octets(bundle)]);
    state = { svids, crl: [Buffer.from([0x30, 0x00])], federated_bundles: Object.fromEntries(federated) };
  }
  for (const stream of [...streams]) update(stream);
}

const server = new grpc.Server();
server.addService(SpiffeWorkloadAPI.service, { FetchX509SVID: fetch });
server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  tell({ event: "listening" });
});
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line)))
  .on("close", () => process.exit(0));
