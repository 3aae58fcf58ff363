/** What a client gets that breaks the rules of graphql-transport-ws: the close code that the protocol names. */

import WebSocket from 'ws';

import { deepEqual, equal, Inbox, match, step } from '../lib/check.ts';
import { cursorNow, ownerToken, record, socketEndpoint, CONVERSIONS } from '../lib/world.ts';

const token = ownerToken();

type Message = { type: string; id?: string; payload?: any };

/** A socket that is read message by message, and that knows nothing of the rules. */
class Raw {
  readonly inbox = new Inbox<Message>();
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;

  constructor(protocol = 'graphql-transport-ws', headers: Record<string, string> = {}) {
    this.#socket = new WebSocket(socketEndpoint, protocol, { headers });
    this.#socket.on('message', (data) => this.inbox.push(JSON.parse(data.toString())));
    this.#socket.on('error', (error) => this.inbox.fail(error));
    this.closed = new Promise((closed) => {
      this.#socket.on('close', (code, reason) => {
        this.inbox.fail(new Error(`closed with ${code} ${reason}`));
        closed({ code, reason: reason.toString() });
      });
    });
  }

  /** Opens one; the server has taken the upgrade. */
  static async open(): Promise<Raw> {
    const raw = new Raw();
    await new Promise((opened) => raw.#socket.once('open', opened));
    return raw;
  }

  /** Opens one and is acknowledged. */
  static async greeted(): Promise<Raw> {
    const raw = await Raw.open();
    raw.send({ type: 'connection_init', payload: { token } });
    equal((await raw.inbox.next()).type, 'connection_ack');
    return raw;
  }

  send(message: Message | string | Buffer): void {
    this.#socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  subscribe(id: string, query: string, variables = {}): void {
    this.send({ id, type: 'subscribe', payload: { query, variables } });
  }

  async closesWith(code: number): Promise<void> {
    equal((await this.closed).code, code);
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.closed;
  }
}

// Waits out its time while the others are at work.
const silent = await Raw.open();

await step('4400: no JSON, no type, an unknown type, a binary frame', async () => {
  for (const message of ['hello', '{}', '[]', '{"type":"start","id":"1"}', Buffer.from('{"type":"ping"}')]) {
    const raw = await Raw.greeted();
    raw.send(message);
    await raw.closesWith(4400);
  }
});

await step('4400: a subscribe without id, or without query', async () => {
  for (const message of [
    { type: 'subscribe', payload: { query: '{ viewer { roles } }' } },
    { id: '', type: 'subscribe', payload: { query: '{ viewer { roles } }' } },
    { id: '1', type: 'subscribe', payload: {} },
    { id: '1', type: 'subscribe' },
  ]) {
    const raw = await Raw.greeted();
    raw.send(message);
    await raw.closesWith(4400);
  }
});

await step('4401: a subscribe before the acknowledgement', async () => {
  const raw = await Raw.open();
  raw.subscribe('1', '{ viewer { roles } }');
  await raw.closesWith(4401);
});

await step('4403: a token that is none, and one that has run out', async () => {
  const expired = ownerToken(1);
  for (const payload of [{ token: 'nonsense' }, { Authorization: 'Basic b3duZXI6' }]) {
    const raw = await Raw.open();
    raw.send({ type: 'connection_init', payload });
    await raw.closesWith(4403);
  }
  // The clock of the node is the judge; the token lives a second.
  for (let code = 0; code !== 4403; ) {
    const raw = await Raw.open();
    raw.send({ type: 'connection_init', payload: { token: expired } });
    code = (await raw.closed).code;
  }
});

await step('4409: an id that is in use', async () => {
  const raw = await Raw.greeted();
  raw.subscribe('1', CONVERSIONS);
  raw.subscribe('1', CONVERSIONS);
  await raw.closesWith(4409);
});

await step('4429: a second greeting', async () => {
  const raw = await Raw.greeted();
  raw.send({ type: 'connection_init', payload: { token } });
  await raw.closesWith(4429);
});

await step('the sub-protocol of subscriptions-transport-ws is not accepted', async () => {
  const raw = new Raw('graphql-ws');
  const { code } = await raw.closed;
  // Refused at the upgrade, or taken and closed with the code that graphql-ws itself uses.
  equal(code === 1006 || code === 4406, true, `closed with ${code}`);
});

await step('an upgrade from a foreign page is refused', async () => {
  const raw = new Raw(undefined, { origin: 'https://evil.example' });
  await raw.inbox.next().then(
    () => Promise.reject(new Error('taken')),
    (error: Error) => match(error.message, /403/),
  );
});

await step('a refused document is one error, and the socket goes on', async () => {
  const raw = await Raw.greeted();
  raw.subscribe('1', '{ nothing }');
  const refused = await raw.inbox.next();
  deepEqual([refused.type, refused.id], ['error', '1']);
  equal(refused.payload[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  raw.subscribe('1', '{ viewer { roles } }');
  deepEqual((await raw.inbox.next()).payload.data, { viewer: { roles: ['OWNER'] } });
  equal((await raw.inbox.next()).type, 'complete');
  await raw.close();
});

await step('nothing comes for an operation that the client has completed, and its id is free', async () => {
  const raw = await Raw.greeted();
  raw.subscribe('1', CONVERSIONS, { after: await cursorNow() });
  const first = await record();
  equal((await raw.inbox.next()).payload.data.conversions.conversion.id, first);
  raw.send({ id: '1', type: 'complete' });
  raw.send({ type: 'ping', payload: { mark: 1 } });
  equal((await raw.inbox.next()).type, 'pong');
  const after = await cursorNow();
  await record();
  raw.subscribe('1', CONVERSIONS, { after });
  equal((await raw.inbox.next()).type, 'next');
  await raw.close();
});

await step('a ping is answered, before the greeting too', async () => {
  const raw = await Raw.open();
  raw.send({ type: 'ping' });
  equal((await raw.inbox.next()).type, 'pong');
  await raw.close();
});

await step('4408: no greeting in time', () => silent.closesWith(4408));
