/** The audit of the GraphQL over HTTP specification, by the package `graphql-http`: no error, no warning. */

import { serverAudits } from 'graphql-http';

import { equal } from '../lib/check.ts';
import { endpoint, ownerToken } from '../lib/world.ts';

const authorization = `Bearer ${ownerToken()}`;
const audits = serverAudits({
  url: endpoint,
  fetchFn: (input: string, init: RequestInit = {}) =>
    fetch(input, { ...init, headers: { ...(init.headers as Record<string, string>), authorization } }),
});

const findings: string[] = [];
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status !== 'ok') findings.push(`${result.status}: ${result.id} ${result.name}: ${result.reason}`);
}
console.log(`${audits.length - findings.length} of ${audits.length} ok`);
equal(findings.join('\n'), '');
equal(audits.length, 61);
