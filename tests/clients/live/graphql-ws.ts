/** `graphql-ws` in what a socket goes through: breaks, expiry, refresh; and the README's way to go on behind them. */

import { createClient, type Client, type ClientOptions } from 'graphql-ws';

import { connect } from '../generated/readme/live.ts';
import { deepEqual, equal, Inbox, ok, step, within } from '../lib/check.ts';
import { Proxy } from '../lib/proxy.ts';
import {
  CAMPAIGNS,
  CONVERSIONS,
  RECORD,
  affiliateToken,
  ask,
  cursorNow,
  given,
  ownerToken,
  record,
  sale,
  socketEndpoint,
  type Campaigns,
  type Conversions,
  type Recorded,
} from '../lib/world.ts';

const token = ownerToken();

/** A client with every default but the address and the token: lazy, no keep-alive. */
function plain(options: Partial<ClientOptions> = {}): Client {
  return createClient({ url: socketEndpoint, connectionParams: { token }, ...options });
}

/** The only answer of a query or mutation. */
async function only<T>(client: Client, query: string, variables: Record<string, unknown>): Promise<T> {
  const results = [];
  for await (const result of client.iterate<T>({ query, variables })) results.push(result);
  equal(results.length, 1);
  equal(results[0]?.errors, undefined);
  return results[0]?.data as T;
}

/** Follows the conversions behind a cursor; the ids, as they come. */
function follow(client: Client, after: string): Inbox<string> {
  const inbox = new Inbox<string>();
  client.subscribe<Conversions>(
    { query: CONVERSIONS, variables: { after } },
    {
      next: ({ data, errors }) => {
        if (data) inbox.push(data.conversions.conversion.id);
        else inbox.fail(errors);
      },
      error: (error) => inbox.fail(error),
      complete: () => inbox.fail(new Error('completed')),
    },
  );
  return inbox;
}

/** Records a conversion and demands that it is the next to be told. */
async function isTold(inbox: Inbox<string>): Promise<void> {
  const id = await record();
  equal(await inbox.next(), id);
}

await step('a query and a mutation, replayed by its key', async () => {
  const client = plain();
  const { campaigns } = await only<Campaigns>(client, CAMPAIGNS, { first: 10 });
  deepEqual(campaigns.nodes.map(({ name }) => name), ['Shoes']);
  const input = sale();
  const first = await only<Recorded>(client, RECORD, { input });
  const again = await only<Recorded>(client, RECORD, { input });
  deepEqual([first.recordConversion.replayed, again.recordConversion.replayed], [false, true]);
  equal(again.recordConversion.conversion?.id, first.recordConversion.conversion?.id);
  await client.dispose();
});

await step('many operations on one socket', async () => {
  const seen: string[] = [];
  const client = plain({ on: { opened: () => seen.push('opened'), closed: () => seen.push('closed') } });
  const told = follow(client, await cursorNow());
  await Promise.all(Array.from({ length: 20 }, () => only<Campaigns>(client, CAMPAIGNS, { first: 1 })));
  await isTold(told);
  deepEqual(seen, ['opened']);
  await client.dispose();
});

await step('keep-alive of the client is answered', async () => {
  const pongs = new Inbox<boolean>();
  const client = plain({ lazy: false, keepAlive: 50, on: { pong: (received) => pongs.push(received) } });
  equal(await pongs.next(), true);
  equal(await pongs.next(), true);
  await client.dispose();
});

await step('a refused document is an error of its operation alone', async () => {
  const client = plain();
  const told = follow(client, await cursorNow());
  const refused = new Promise<any>((resolve, reject) => {
    const query = 'subscription { nothing { id } }';
    client.subscribe({ query }, { next: reject, error: resolve, complete: () => reject(new Error('completed')) });
  });
  equal((await within('a refusal', refused))[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  await isTold(told);
  await client.dispose();
});

await step('an affiliate is told of its own conversions', async () => {
  const client = plain({ connectionParams: { token: affiliateToken() } });
  // A cursor is bound to its viewer.
  const { conversionCursor } = await only<{ conversionCursor: string }>(client, '{ conversionCursor }', {});
  const told = follow(client, conversionCursor);
  await isTold(told);
  await client.dispose();
});

await step('behind a broken connection the subscription goes on where it was', async () => {
  const way = await Proxy.open();
  const client = connect({ url: way.socketEndpoint, token: () => token });
  const told = follow(client, await cursorNow());
  for (let round = 0; round < 3; round++) {
    await isTold(told);
    way.cut();
    // While nobody listens.
    const missed = [await record(), await record()];
    deepEqual([await told.next(), await told.next()], missed);
  }
  await isTold(told);
  ok(told.isEmpty, 'nothing came twice');
  await client.dispose();
  way.close();
});

await step('4403: a token that runs out; the next one is asked for, and the subscription goes on', async () => {
  const codes: number[] = [];
  const tokens = [ownerToken(2), token];
  const client = connect({
    url: socketEndpoint,
    token: () => tokens.shift() ?? token,
    on: { closed: (event) => codes.push((event as CloseEvent).code) },
  });
  const told = follow(client, await cursorNow());
  await isTold(told);
  await within('the end of the token', (async () => {
    while (codes.length === 0) await isTold(told);
  })());
  await isTold(told);
  deepEqual([codes, tokens], [[4403], []]);
  await client.dispose();
});

/** A client that sends another token on its open socket, with the answers to that. */
function renewing(token: string, next: string): { client: Client; answers: Inbox<any>; codes: number[] } {
  const answers = new Inbox<any>();
  const codes: number[] = [];
  const client = plain({
    connectionParams: { token },
    on: {
      connected: (socket) => (socket as WebSocket).send(JSON.stringify({ type: 'ping', payload: { token: next } })),
      pong: (_received, payload) => answers.push(payload),
      closed: (event) => codes.push((event as CloseEvent).code),
    },
  });
  return { client, answers, codes };
}

await step('a token that is renewed on the open socket', async () => {
  const short = ownerToken(3);
  const { client, answers, codes } = renewing(short, token);
  const told = follow(client, await cursorNow());
  ok(Date.parse((await answers.next()).expiresAt) > Date.now() + 60_000);
  // The first token is worth nothing any more when the node itself refuses it.
  await within('the end of the first token', (async () => {
    while (await isGood(short)) await isTold(told);
  })());
  await isTold(told);
  deepEqual(codes, []);
  await client.dispose();
});

await step('a token of somebody else is refused on the open socket, which stays as it was', async () => {
  const input = { tenant: 'home', email: 'owner@home.test', password: given('TRIBUTARY_TEST_PASSWORD') };
  const logIn = 'mutation ($input: LoginInput!) { login(input: $input) { accessToken } }';
  const { login } = await ask<{ login: { accessToken: string } }>(logIn, { input });
  const { client, answers, codes } = renewing(token, login.accessToken);
  const told = follow(client, await cursorNow());
  equal((await answers.next()).error.code, 'FORBIDDEN');
  await isTold(told);
  deepEqual(codes, []);
  await client.dispose();
});

/** Whether the node takes a token still. */
async function isGood(token: string): Promise<boolean> {
  const client = plain({ connectionParams: { token }, retryAttempts: 0 });
  try {
    await only<Campaigns>(client, CAMPAIGNS, { first: 1 });
    return true;
  } catch {
    return false;
  } finally {
    await client.dispose();
  }
}
