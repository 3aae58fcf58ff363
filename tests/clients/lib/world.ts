/** The node under test, as the Rust side tells of it, and what a program needs to make things happen there. */

import { execFileSync } from 'node:child_process';

export function given(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the programs by \`cargo test --test it clients::\``);
  return value;
}

export const url = given('TRIBUTARY_TEST_URL');
export const endpoint = `${url}/graphql`;
export const socketEndpoint = endpoint.replace('http', 'ws');
export const click = given('TRIBUTARY_TEST_CLICK');
export const affiliate = given('TRIBUTARY_TEST_AFFILIATE');

/** A token of the tenant's owner, made by the command line. */
export function ownerToken(ttlSecs = 3600): string {
  return token('--role', 'owner', '--ttl-secs', String(ttlSecs));
}

/** A token of the affiliate whose click it is. */
export function affiliateToken(): string {
  return token('--role', 'affiliate', '--affiliate', affiliate);
}

function token(...options: string[]): string {
  const program = given('TRIBUTARY_TEST_PROGRAM');
  return execFileSync(program, ['token', '--tenant', 'home', ...options], { encoding: 'utf8' }).trim();
}

const owner = ownerToken();

/** Data of a document that must not fail, by the plainest of clients. */
export async function ask<T>(query: string, variables: object = {}): Promise<T> {
  const response = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${owner}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data: T; errors?: unknown };
  if (errors) throw new Error(`${query}: ${JSON.stringify(errors)}`);
  return data;
}

/** The cursor that the log stands at. */
export async function cursorNow(): Promise<string> {
  return (await ask<{ conversionCursor: string }>('{ conversionCursor }')).conversionCursor;
}

/** The input of a conversion; it waits for a review, so that it is told once, as RECORDED. */
export function sale() {
  const order = crypto.randomUUID();
  const saleAmount = { amount: '49.00', currency: 'EUR' };
  return { idempotencyKey: `key-${order}`, clickId: click, goal: 'sale', orderId: order, saleAmount };
}

export const RECORD = /* GraphQL */ `
  mutation Record($input: RecordConversionInput!) {
    recordConversion(input: $input) {
      replayed
      conversion {
        id
        status
      }
      userErrors {
        code
        field
        message
      }
    }
  }
`;

export type Recorded = {
  recordConversion: { replayed: boolean; conversion: { id: string; status: string } | null; userErrors: unknown[] };
};

/** Records a conversion; its id. */
export async function record(): Promise<string> {
  const { recordConversion } = await ask<Recorded>(RECORD, { input: sale() });
  if (!recordConversion.conversion) throw new Error(JSON.stringify(recordConversion));
  return recordConversion.conversion.id;
}

export const CAMPAIGNS = /* GraphQL */ `
  query Campaigns($first: Int!) {
    campaigns(first: $first) {
      nodes {
        id
        name
      }
    }
  }
`;

export type Campaigns = { campaigns: { nodes: { id: string; name: string }[] } };

export const CONVERSIONS = /* GraphQL */ `
  subscription Conversions($after: Cursor) {
    conversions(after: $after) {
      cursor
      type
      conversion {
        id
        status
      }
    }
  }
`;

export type Conversions = { conversions: { cursor: string; type: string; conversion: { id: string; status: string } } };
