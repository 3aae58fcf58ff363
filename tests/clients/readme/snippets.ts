/** The README's snippets: fenced blocks of code with a name behind their language, such as ```ts live.ts */

import { readFileSync } from 'node:fs';

import { equal } from '../lib/check.ts';

/** Where they stand as files. */
export const folder = new URL('../generated/readme', import.meta.url).pathname;

/** The address in the snippets: the demo's. */
export const ADDRESS = '127.0.0.1:8080';

/** Languages of what is run or compiled; a block of any other is for people, or checked elsewhere. */
const LANGUAGES = ['js', 'python', 'ts', 'tsx', 'vue'];

/** Each block that has a name. */
export function snippets(): Map<string, string> {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const found = new Map<string, string>();
  for (const [, language = '', name = '', text = ''] of readme.matchAll(/^```(\w*) ?(.*)\n([^]*?)^```$/gm)) {
    equal(name === '' && LANGUAGES.includes(language), false, `a block without a name:\n${text}`);
    if (name) found.set(name, text);
  }
  return found;
}
