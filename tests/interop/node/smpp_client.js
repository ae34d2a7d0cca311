// A client made of node-smpp binds over TLS to a simulated carrier, asks everything that an ESME may, and tells what it
// read in each answer.
//
//   node smpp_client.js '{"port": N, "ca": FILE, "password": "...", "as": "pair" | "transceiver"}'
//
// Out: JSON lines, {"event": "answer", "to", "status", ...} for each request in its order, {"event": "delivery", ...} for
// each deliver_sm and data_sm, {"event": "done"} when all that was to come has come.
'use strict';

const fs = require('fs');
const smpp = require('smpp');

const options = JSON.parse(process.argv[2]);
const account = { system_id: 'smsgw', password: options.password };
const to = { dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '4915112345678' };
const from = { source_addr_ton: 5, source_addr: 'ACME' };

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function connect() {
  const session = smpp.connect({
    host: '127.0.0.1',
    port: options.port,
    tls: true,
    ca: fs.readFileSync(options.ca),
    servername: 'localhost',
  });
  session.on('error', (error) => tell('error', { text: String(error) }));
  for (const kind of ['deliver_sm', 'data_sm']) {
    session.on(kind, (pdu) => {
      const text = pdu.short_message ? pdu.short_message.message : pdu.message_payload.message;
      tell('delivery', { kind, esm_class: pdu.esm_class, id: pdu.receipted_message_id, state: pdu.message_state, text: String(text) });
      session.send(pdu.response());
    });
  }
  return new Promise((resolve) => session.on('secureConnect', () => resolve(session)));
}

function ask(session, command, fields) {
  return new Promise((resolve) => {
    session.send(new smpp.PDU(command, fields), (answer) => {
      const { command: kind, command_status: status, message_id: id, message_state: state, system_id: system } = answer;
      tell('answer', { to: command, kind, status, id, state, system, version: answer.sc_interface_version });
      resolve(answer);
    });
  });
}

async function run() {
  const sessions = [];
  if (options.as === 'pair') {
    for (const bind of ['bind_transmitter', 'bind_receiver']) {
      sessions.push(await connect());
      await ask(sessions[sessions.length - 1], bind, account);
    }
  } else {
    sessions.push(await connect());
    await ask(sessions[0], 'bind_transceiver', account);
  }
  const [session] = sessions;
  const submit = { ...from, ...to, registered_delivery: 1 };
  const first = await ask(session, 'submit_sm', { ...submit, short_message: 'hello', user_message_reference: 7 });
  const second = await ask(session, 'submit_sm', { ...submit, short_message: 'second' });
  await ask(session, 'data_sm', { ...submit, message_payload: 'by data_sm' });
  await ask(session, 'submit_multi', { ...from, dest_address: [{ ...to, dest_flag: 1 }], short_message: 'to many' });
  await ask(session, 'query_sm', { message_id: first.message_id, ...from });
  await ask(session, 'replace_sm', { message_id: second.message_id, ...from, short_message: 'other' });
  await ask(session, 'cancel_sm', { message_id: second.message_id, ...from, ...to });
  await ask(session, 'query_sm', { message_id: second.message_id, ...from });
  await ask(session, 'enquire_link', {});
  setTimeout(async () => {
    for (const each of sessions) await ask(each, 'unbind', {});
    tell('done', {});
    process.exit(0);
  }, 2500);
}

run();
