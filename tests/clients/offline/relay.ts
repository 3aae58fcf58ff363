/** `relay-compiler` over sample documents and `schema.graphql`: artifacts, and the document of each by its hash. */

import { buildSchema, parse, validate } from 'graphql';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { deepEqual, equal } from '../lib/check.ts';

const folder = 'generated/relay';
rmSync(folder, { recursive: true, force: true });
mkdirSync(`${folder}/artifacts`, { recursive: true });
copyFileSync('../../schema.graphql', `${folder}/schema.graphql`);
// The compiler adds to it.
writeFileSync(`${folder}/persisted.json`, '{}');

// The package is the path of its program.
const compiler: string = createRequire(import.meta.url)('relay-compiler');
const { status, stdout, stderr } = spawnSync(compiler, ['relay.config.json'], { encoding: 'utf8' });
console.log(stdout, stderr);
equal(status, 0);

const schema = buildSchema(readFileSync(`${folder}/schema.graphql`, 'utf8'));
const persisted: Record<string, string> = JSON.parse(readFileSync(`${folder}/persisted.json`, 'utf8'));
for (const [hash, document] of Object.entries(persisted)) {
  equal(hash, createHash('sha256').update(document).digest('hex'));
  deepEqual(validate(schema, parse(document)), []);
}
equal(Object.keys(persisted).length, 7, 'four operations as written, and three that refetch fragments');
