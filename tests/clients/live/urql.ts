/** `@urql/core`: queries and mutations by HTTP; subscriptions by WebSocket and by server-sent events. */

import { cacheExchange, Client, fetchExchange, gql, subscriptionExchange, type Exchange } from '@urql/core';

import { connect } from '../generated/readme/live.ts';
import { deepEqual, equal, Inbox, ok, step } from '../lib/check.ts';
import { Proxy } from '../lib/proxy.ts';
import {
  CAMPAIGNS,
  CONVERSIONS,
  RECORD,
  cursorNow,
  endpoint,
  ownerToken,
  record,
  sale,
  type Campaigns,
  type Conversions,
  type Recorded,
} from '../lib/world.ts';

const token = ownerToken();

function urql(exchanges: Exchange[], fetchSubscriptions = false): Client {
  return new Client({
    url: endpoint,
    preferGetMethod: false,
    exchanges,
    fetchSubscriptions,
    fetchOptions: { headers: { authorization: `Bearer ${token}` } },
  });
}

/** Follows the conversions; the ids, as they come. */
function follow(client: Client, after: string): { inbox: Inbox<string>; end: () => void } {
  const inbox = new Inbox<string>();
  const { unsubscribe } = client.subscription<Conversions>(gql(CONVERSIONS), { after }).subscribe(({ data, error }) => {
    if (error) inbox.fail(error);
    else if (data) inbox.push(data.conversions.conversion.id);
  });
  return { inbox, end: unsubscribe };
}

await step('a query by POST and by GET, a mutation and a refused document', async () => {
  const client = urql([cacheExchange, fetchExchange]);
  for (const preferGetMethod of [false, 'force'] as const) {
    const context = { preferGetMethod, requestPolicy: 'network-only' } as const;
    const { data, error } = await client.query<Campaigns>(gql(CAMPAIGNS), { first: 10 }, context);
    equal(error, undefined);
    deepEqual(data?.campaigns.nodes.map(({ name }) => name), ['Shoes']);
  }
  const recorded = await client.mutation<Recorded>(gql(RECORD), { input: sale() });
  equal(recorded.data?.recordConversion.conversion?.status, 'PENDING');
  const refused = await client.query(gql('{ nothing }'), {});
  equal(refused.error?.graphQLErrors[0]?.extensions['code'], 'GRAPHQL_VALIDATION_FAILED');
});

await step('a subscription by WebSocket, behind broken connections too', async () => {
  const way = await Proxy.open();
  const live = connect({ url: way.socketEndpoint, token: () => token });
  const sockets = subscriptionExchange({
    forwardSubscription: ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: live.subscribe({ query: query ?? '', variables }, sink) }),
    }),
  });
  const { inbox, end } = follow(urql([fetchExchange, sockets]), await cursorNow());
  for (let round = 0; round < 3; round++) {
    const ids = [await record(), await record()];
    deepEqual([await inbox.next(), await inbox.next()], ids);
    way.cut();
  }
  ok(inbox.isEmpty, 'nothing came twice');
  end();
  await live.dispose();
  way.close();
});

await step('a subscription by server-sent events, and by its cursor once more', async () => {
  const client = urql([fetchExchange], true);
  const after = await cursorNow();
  const ids = [await record(), await record()];
  for (let round = 0; round < 2; round++) {
    const { inbox, end } = follow(client, after);
    deepEqual([await inbox.next(), await inbox.next()], ids);
    end();
  }
  const { inbox, end } = follow(client, await cursorNow());
  const id = await record();
  equal(await inbox.next(), id);
  end();
});

await step('a refused subscription by server-sent events', async () => {
  const errors = new Inbox<any>();
  const { unsubscribe } = urql([fetchExchange], true)
    .subscription(gql(CONVERSIONS), { after: 'nonsense' })
    .subscribe(({ error }) => error && errors.push(error));
  equal((await errors.next()).graphQLErrors[0].extensions.code, 'CURSOR_INVALID');
  unsubscribe();
});
