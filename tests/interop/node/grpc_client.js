// A caller in another language: @grpc/grpc-js over mutual TLS, with the .proto files as they stand in the tree.
//
//   node grpc_client.js '{"address", "server_name", "bundle", "certificate", "key", "include": [DIR, ...], "recipient"}'
//
// Sends one message and a batch with one bad message in it, follows the events of all good ones until each is delivered,
// and reads one back. Prints one JSON object. Exits 1 with {"error": ...} when anything fails.
'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const options = JSON.parse(process.argv[2]);
const definition = protoLoader.loadSync('smsgw/v1/message_service.proto', {
  includeDirs: options.include,
  keepCase: true,
  longs: String,
  enums: String,
  oneofs: true,
  arrays: true,
});
const { MessageService } = grpc.loadPackageDefinition(definition).smsgw.v1;

const client = new MessageService(
  options.address,
  grpc.credentials.createSsl(
    fs.readFileSync(options.bundle),
    fs.readFileSync(options.key),
    fs.readFileSync(options.certificate),
  ),
  { 'grpc.ssl_target_name_override': options.server_name },
);

function call(method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + 15000 }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

function message(text, recipient = options.recipient) {
  return { recipient, sender: 'ACME', category: 'CATEGORY_TRANSACTIONAL', content: { text } };
}

// Follows events until every id of `open` is delivered; the states seen of each, in order.
function follow(cursor, open) {
  const states = Object.fromEntries(open.map((id) => [id, []]));
  const left = new Set(open);
  return new Promise((resolve, reject) => {
    const stream = client.WatchEvents({ cursor }, { deadline: Date.now() + 30000 });
    stream.on('error', reject);
    stream.on('data', (response) => {
      for (const event of response.events) {
        const change = event.state_change;
        if (!change || !states[change.message_id]) continue;
        states[change.message_id].push(change.state);
        if (change.state === 'MESSAGE_STATE_DELIVERED') left.delete(change.message_id);
      }
      if (left.size > 0) return;
      stream.removeAllListeners('error').on('error', () => {}); // our own cancellation
      stream.cancel();
      resolve(states);
    });
  });
}

// Where the event log stands before anything is sent.
function startingCursor() {
  return new Promise((resolve, reject) => {
    const stream = client.WatchEvents({ start: 'WATCH_START_NOW' }, { deadline: Date.now() + 15000 });
    stream.on('error', reject);
    stream.once('data', (response) => {
      stream.removeAllListeners('error').on('error', () => {});
      stream.cancel();
      resolve(response.cursor);
    });
  });
}

async function refusal(method, request) {
  try {
    await call(method, request);
    return null;
  } catch (error) {
    const rich = error.metadata.get('grpc-status-details-bin').length > 0;
    return { code: grpc.status[error.code], details: error.details, rich };
  }
}

async function main() {
  const cursor = await startingCursor();
  const one = await call('SendMessage', { message: message('from grpc-js, one') });
  const many = await call('SendMessages', {
    messages: [message('batch, first'), message('batch, bad', 'no number'), message('batch, नमस्ते 👋')],
  });
  const ids = [one.accepted.message_id, ...many.results.filter((r) => r.accepted).map((r) => r.accepted.message_id)];
  const states = await follow(cursor, ids);
  const read = await call('GetMessage', { message_id: ids[0] });
  const refused = await refusal('SendMessage', { message: message('x', 'no number') });
  return { one: one.accepted, results: many.results, states, read: read.message, refused };
}

main()
  .then((report) => process.stdout.write(JSON.stringify(report) + '\n'))
  .catch((error) => {
    process.stdout.write(JSON.stringify({ error: String(error) }) + '\n');
    process.exitCode = 1;
  })
  .finally(() => client.close());
