/** `graphql-sse` in its distinct connections mode: a query, a subscription, and what is behind a broken connection. */

import { createClient, type Client } from 'graphql-sse';

import { deepEqual, equal, Inbox, match, ok, step, within } from '../lib/check.ts';
import { Proxy } from '../lib/proxy.ts';
import {
  CAMPAIGNS,
  CONVERSIONS,
  cursorNow,
  endpoint,
  ownerToken,
  record,
  type Campaigns,
  type Conversions,
} from '../lib/world.ts';

const headers = { authorization: `Bearer ${ownerToken()}` };

function follow(client: Client, after: string): Inbox<Conversions['conversions']> {
  const inbox = new Inbox<Conversions['conversions']>();
  client.subscribe<Conversions>(
    { query: CONVERSIONS, variables: { after } },
    {
      next: ({ data, errors }) => {
        if (data) inbox.push(data.conversions);
        else inbox.fail(errors);
      },
      error: (error) => inbox.fail(error),
      complete: () => inbox.fail(new Error('completed')),
    },
  );
  return inbox;
}

/** The events of a stream, as they stand on the wire. */
async function* events(response: Response): AsyncGenerator<Record<string, string>> {
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    for (const block of blocks) {
      const fields = block.split('\n').filter((line) => line && !line.startsWith(':'));
      if (fields.length) yield Object.fromEntries(fields.map((line) => line.split(/: ?(.*)/s)));
    }
  }
}

await step('a query', async () => {
  const client = createClient({ url: endpoint, headers });
  const results = [];
  for await (const result of client.iterate<Campaigns>({ query: CAMPAIGNS, variables: { first: 10 } })) {
    results.push(result.data?.campaigns.nodes.map(({ name }) => name));
  }
  deepEqual(results, [['Shoes']]);
  client.dispose();
});

await step('a subscription, told as it happens', async () => {
  const client = createClient({ url: endpoint, headers });
  const inbox = follow(client, await cursorNow());
  for (let round = 0; round < 3; round++) {
    const id = await record();
    deepEqual(await inbox.next().then(({ type, conversion }) => [type, conversion.id]), ['RECORDED', id]);
  }
  client.dispose();
});

await step('a refused document and a missing token are told as such', async () => {
  const client = createClient({ url: endpoint, headers, retryAttempts: 0 });
  const failure = (client: Client, query: string) =>
    within('a failure', new Promise<any>((resolve) =>
      client.subscribe({ query }, { next: resolve, error: resolve, complete: () => resolve('completed') }),
    ));
  match(JSON.stringify(await failure(client, 'subscription { nothing }')), /Unknown field/);
  const anonymous = createClient({ url: endpoint, retryAttempts: 0 });
  match(JSON.stringify(await failure(anonymous, CONVERSIONS)), /UNAUTHENTICATED/);
  client.dispose();
  anonymous.dispose();
});

await step('an event has its cursor as id, and Last-Event-ID goes on behind it', async () => {
  const open = (lastEventId?: string, variables = {}) =>
    fetch(endpoint, {
      method: 'POST',
      headers: {
        ...headers,
        accept: 'text/event-stream',
        'content-type': 'application/json',
        ...(lastEventId && { 'last-event-id': lastEventId }),
      },
      body: JSON.stringify({ query: CONVERSIONS, variables }),
    });
  const first = await open(undefined, { after: await cursorNow() });
  equal(first.status, 200);
  match(first.headers.get('content-type') ?? '', /^text\/event-stream/);
  const recorded = [await record(), await record(), await record()];
  const stream = events(first);
  const event = (await within('an event', stream.next())).value;
  const data = JSON.parse(event.data).data as Conversions;
  deepEqual([event.event, data.conversions.conversion.id], ['next', recorded[0]]);
  equal(event.id, data.conversions.cursor);
  await stream.return(undefined);

  const second = events(await open(event.id));
  for (const id of recorded.slice(1)) {
    const { data } = (await within('an event', second.next())).value;
    equal((JSON.parse(data).data as Conversions).conversions.conversion.id, id);
  }
  await second.return(undefined);
});

await step('the client comes back by itself, and goes on by Last-Event-ID', async () => {
  const way = await Proxy.open();
  let last: string | undefined;
  const client = createClient({
    url: way.endpoint,
    headers: () => ({ ...headers, ...(last && { 'last-event-id': last }) }),
    retry: () => Promise.resolve(),
  });
  const inbox = follow(client, await cursorNow());
  for (let round = 0; round < 3; round++) {
    const first = await record();
    const told = await inbox.next();
    equal(told.conversion.id, first);
    // The package does not show the ids of events; they are the cursors.
    last = told.cursor;
    way.cut();
    const missed = [await record(), await record()];
    const [one, two] = [await inbox.next(), await inbox.next()];
    deepEqual([one.conversion.id, two.conversion.id], missed);
    last = two.cursor;
  }
  ok(inbox.isEmpty, 'nothing came twice');
  client.dispose();
  way.close();
});
