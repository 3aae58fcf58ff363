/** `@graphql-eslint/eslint-plugin` over `schema.graphql`: its recommended rules, Relay's, and naming. */

import graphqlPlugin, { parser } from '@graphql-eslint/eslint-plugin';
import { ESLint, type Linter } from 'eslint';
import { readFileSync } from 'node:fs';

import { deepEqual, equal } from '../lib/check.ts';

const configs = graphqlPlugin.configs as Record<string, { rules: Linter.RulesRecord }>;

const rules: Linter.RulesRecord = {
  ...configs['flat/schema-recommended']!.rules,
  ...configs['flat/schema-relay']!.rules,
  '@graphql-eslint/input-name': 'error',
  '@graphql-eslint/no-scalar-result-type-on-mutation': 'error',
  '@graphql-eslint/require-nullable-fields-with-oneof': 'error',
  // Of arguments it asks those of the built-in directives, too, which are not ours to describe; `tests/it/schema.rs`
  // walks all others.
  '@graphql-eslint/require-description': [
    'error',
    { types: true, DirectiveDefinition: true, EnumValueDefinition: true, FieldDefinition: true },
  ],
  // Short lists that are bounded by what they belong to are lists: the goals of a campaign, the refusals of a call.
  '@graphql-eslint/relay-edge-types': [
    'error',
    { listTypeCanWrapOnlyEdgeType: false, shouldImplementNode: true, withEdgeSuffix: true },
  ],
  // Money, pages, payloads, report rows: values have no id. What has one is a Node, which the rule above looks after.
  '@graphql-eslint/strict-id-in-types': 'off',
};

/** Findings that are as they should be, by rule and line; each must be found. */
const REVIEWED: readonly (readonly [rule: string, line: string])[] = [
  // Who may log in and which keys there are is for administrators, by list; `node` finds what programmes are made of.
  ['@graphql-eslint/relay-edge-types', 'type ApiKeyEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type PostbackEndpointEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type UserEdge {'],
  // What went wrong at an endpoint is read beside it, and forgotten after some days.
  ['@graphql-eslint/relay-edge-types', 'type PostbackCallEdge {'],
  // A run is work that was asked for, and found by `conversionRun`.
  ['@graphql-eslint/relay-edge-types', 'type ConversionRunEdge {'],
  // An account is found by its place in the chart, by `ledgerAccount`; an entry is a line of its journal.
  ['@graphql-eslint/relay-edge-types', 'type LedgerAccountEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type LedgerAccountEntryEdge {'],
  // A preview is reckoned when it is asked for, and kept nowhere.
  ['@graphql-eslint/relay-edge-types', 'type PayoutPreviewLineEdge {'],
  // Files and what banks say of them are read at their batch, terms at whom they are for.
  ['@graphql-eslint/relay-edge-types', 'type PayoutFileEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type PayoutNoticeEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type PayoutTermsEdge {'],
  // What processors said, and where their books differ from ours, is for those who pay, by list.
  ['@graphql-eslint/relay-edge-types', 'type ProcessorCallEdge {'],
  ['@graphql-eslint/relay-edge-types', 'type ReconciliationItemEdge {'],
  // A change has a place in the log, which its cursor names, and no id.
  ['@graphql-eslint/relay-edge-types', 'type EventEdge {'],
];

const schema = readFileSync('../../schema.graphql', 'utf8');
const eslint = new ESLint({
  overrideConfigFile: true,
  overrideConfig: {
    files: ['**/*.graphql'],
    plugins: { '@graphql-eslint': graphqlPlugin as unknown as ESLint.Plugin },
    languageOptions: {
      parser: parser as unknown as Linter.Parser,
      parserOptions: { graphQLConfig: { schema: '../../schema.graphql' } },
    },
    rules,
  },
});
const results = await eslint.lintText(schema, { filePath: 'schema.graphql' });
const lines = schema.split('\n');
const open = new Set(REVIEWED.map(([rule, line]) => `${rule}: ${line}`));
const findings = results
  .flatMap(({ messages }) => messages)
  .filter(({ ruleId, line }) => !open.delete(`${ruleId}: ${lines[line - 1]}`));
for (const { line, ruleId, message } of findings) console.log(`schema.graphql:${line}: ${ruleId}: ${message}`);
equal(findings.length, 0);
deepEqual([...open], [], 'reviewed, and no longer there');
