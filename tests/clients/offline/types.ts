/**
 * `@graphql-codegen/cli` over the documents of sample components, then `vue-tsc`, which is `tsc` that also knows Vue,
 * over everything here: components, the README's snippets, the programs. And the README's documents against the schema.
 */

import { generate } from '@graphql-codegen/cli';
import { buildSchema, parse, validate } from 'graphql';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import { deepEqual, equal, ok } from '../lib/check.ts';

await generate(
  {
    schema: '../../schema.graphql',
    documents: ['offline/front-ends/*.{tsx,vue}'],
    generates: {
      'generated/front-ends/': { preset: 'client', config: { useTypeImports: true, defaultScalarType: 'string' } },
    },
    silent: true,
  },
  true,
);

const { status, stdout } = spawnSync(process.execPath, ['node_modules/vue-tsc/bin/vue-tsc.js', '--noEmit'], {
  encoding: 'utf8',
});
console.log(stdout);
equal(status, 0);

const schema = buildSchema(readFileSync('../../schema.graphql', 'utf8'));
const documents = [...readFileSync('../../README.md', 'utf8').matchAll(/^```graphql\n([^]*?)^```$/gm)];
ok(documents.length > 0, 'the README has documents');
for (const [, document = ''] of documents) deepEqual(validate(schema, parse(document)), []);
