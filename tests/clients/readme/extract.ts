/** Takes the README's named snippets out of it, into `generated/readme`, and generates the types of their documents. */

import { generate } from '@graphql-codegen/cli';
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';

import { folder, snippets } from './snippets.ts';

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const [name, text] of snippets()) writeFileSync(`${folder}/${name}`, text);

copyFileSync('../../schema.graphql', `${folder}/schema.graphql`);
const { default: config } = await import(`${folder}/codegen.ts`);
await generate({ ...config, cwd: folder, silent: true }, true);
