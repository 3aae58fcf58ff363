/** `@apollo/client`: queries and mutations by HTTP; subscriptions by WebSocket and by multipart HTTP. */

import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache, type ApolloLink } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createHash } from 'node:crypto';

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

function apollo(link: ApolloLink): ApolloClient {
  return new ApolloClient({ link, cache: new InMemoryCache() });
}

/** Follows the conversions; the ids, as they come. */
function follow(client: ApolloClient, after: string): { inbox: Inbox<string>; end: () => void } {
  const inbox = new Inbox<string>();
  const subscription = client.subscribe<Conversions>({ query: gql(CONVERSIONS), variables: { after } }).subscribe({
    next: ({ data, error }) => (data ? inbox.push(data.conversions.conversion.id) : inbox.fail(error)),
    error: (error) => inbox.fail(error),
    complete: () => inbox.fail(new Error('completed')),
  });
  return { inbox, end: () => subscription.unsubscribe() };
}

const http = new HttpLink({ uri: endpoint, headers: { authorization: `Bearer ${token}` } });

await step('a query, a mutation and a refused document by HTTP', async () => {
  const client = apollo(http);
  const { data } = await client.query<Campaigns>({ query: gql(CAMPAIGNS), variables: { first: 10 } });
  deepEqual(data?.campaigns.nodes.map(({ name }) => name), ['Shoes']);
  const recorded = await client.mutate<Recorded>({ mutation: gql(RECORD), variables: { input: sale() } });
  equal(recorded.data?.recordConversion.conversion?.status, 'PENDING');
  const refused = await client.query({ query: gql('{ nothing }') }).catch((error: unknown) => error);
  ok(CombinedGraphQLErrors.is(refused), String(refused));
  equal(refused.errors[0]?.extensions?.['code'], 'GRAPHQL_VALIDATION_FAILED');
});

await step('automatic persisted queries, by GET', async () => {
  const sent: string[] = [];
  const watched = new HttpLink({
    uri: endpoint,
    headers: { authorization: `Bearer ${token}` },
    fetch: (input, init) => {
      sent.push(init?.method ?? '');
      return fetch(input, init);
    },
  });
  const sha256 = (document: string) => createHash('sha256').update(document).digest('hex');
  const persisted = new PersistedQueryLink({ sha256, useGETForHashedQueries: true }).concat(watched);
  for (let round = 0; round < 2; round++) {
    const { data } = await apollo(persisted).query<Campaigns>({ query: gql(CAMPAIGNS), variables: { first: 5 } });
    equal(data?.campaigns.nodes.length, 1);
  }
  // By its hash, which is not known; with its text; by its hash again.
  deepEqual(sent, ['GET', 'POST', 'GET']);
});

await step('a subscription by WebSocket, behind broken connections too', async () => {
  const way = await Proxy.open();
  const live = connect({ url: way.socketEndpoint, token: () => token });
  const { inbox, end } = follow(apollo(new GraphQLWsLink(live)), await cursorNow());
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

await step('a subscription by multipart HTTP, and by its cursor once more', async () => {
  const after = await cursorNow();
  const ids = [await record(), await record()];
  for (let round = 0; round < 2; round++) {
    const { inbox, end } = follow(apollo(http), after);
    deepEqual([await inbox.next(), await inbox.next()], ids);
    end();
  }
  const { inbox, end } = follow(apollo(http), await cursorNow());
  const id = await record();
  equal(await inbox.next(), id);
  end();
});

await step('a refused subscription by multipart HTTP', async () => {
  const errors = new Inbox<unknown>();
  const subscription = apollo(http)
    .subscribe({ query: gql(CONVERSIONS), variables: { after: 'nonsense' } })
    .subscribe({ next: ({ error }) => errors.push(error), error: (error) => errors.push(error) });
  const refused = await errors.next();
  ok(CombinedGraphQLErrors.is(refused), String(refused));
  equal(refused.errors[0]?.extensions?.['code'], 'CURSOR_INVALID');
  subscription.unsubscribe();
});
