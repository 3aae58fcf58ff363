/** The README's snippets, run: front ends in a page, programs of servers as processes, each over a way that is cut. */

import { build, type Plugin } from 'esbuild';
import { JSDOM } from 'jsdom';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { compileScript, parse } from 'vue/compiler-sfc';

import { deepEqual, equal, Inbox, match, ok, step, within } from '../lib/check.ts';
import { Proxy } from '../lib/proxy.ts';
import { RECORD, ask, cursorNow, given, sale, type Recorded } from '../lib/world.ts';
import { ADDRESS, folder, snippets } from './snippets.ts';

const way = await Proxy.open();
const address = new URL(way.endpoint).host;
const scratch = mkdtempSync(`${folder}/../run-`);
const { window } = new JSDOM('<!doctype html><div id="root"></div>');
const { document, Element, SVGElement } = window;
// What React and Vue find in a browser.
Object.assign(globalThis, { window, document, Element, SVGElement });

/** A snippet's text with the node's address. */
const here = (text: string) => text.replaceAll(ADDRESS, address);

/** Makes one module of snippets, as the bundlers of front ends do. */
async function bundle<T>(name: string, exports: string): Promise<T> {
  const addresses: Plugin = {
    name: 'addresses',
    setup({ onLoad }) {
      onLoad({ filter: /generated\/readme\/[^/]*\.tsx?$/ }, ({ path }) => ({
        contents: here(readFileSync(path, 'utf8')),
        loader: path.endsWith('x') ? 'tsx' : 'ts',
      }));
      onLoad({ filter: /\.vue$/ }, ({ path }) => {
        const { descriptor } = parse(readFileSync(path, 'utf8'), { filename: path });
        return { contents: compileScript(descriptor, { id: name, inlineTemplate: true }).content, loader: 'ts' };
      });
    },
  };
  const outfile = `${scratch}/${name}.mjs`;
  await build({
    stdin: { contents: exports, resolveDir: folder, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    jsx: 'automatic',
    plugins: [addresses],
    outfile,
  });
  return import(outfile) as Promise<T>;
}

/** Records a conversion; its id and order. */
async function order(): Promise<{ id: string; order: string }> {
  const input = sale();
  const { recordConversion } = await ask<Recorded>(RECORD, { input });
  return { id: recordConversion.conversion!.id, order: input.orderId };
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const waiting = async () => {
    while (!isSo()) await new Promise((again) => setTimeout(again, 20));
  };
  await within(what, waiting());
}

/** What a live list shows, from the first row to one that changed after the connection was cut. */
async function isLive(): Promise<void> {
  const shown = () => document.body.textContent ?? '';
  const before = earlier.order;
  await until('the list', () => shown().includes(before));
  const live = await order();
  await until('a new row', () => shown().includes(live.order));
  way.cut();
  const missed = await order();
  await until('a row from meanwhile', () => shown().includes(missed.order));
  const approve = 'mutation ($input: ApproveConversionsInput!) { approveConversions(input: $input) { replayed } }';
  await ask(approve, { input: { ids: [missed.id] } });
  await until('a changed row', () => shown().includes(`${missed.order}: 49.00 EUR, APPROVED`));
  for (const { order } of [earlier, live, missed]) equal(shown().split(order).length, 2, 'each row once');
}

/** A program of a snippet, line by line. */
class Program {
  readonly lines = new Inbox<string>();
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(command: string, name: string, environment: Record<string, string>) {
    const file = `${scratch}/${name}`;
    writeFileSync(file, here(snippets().get(name)!));
    this.#process = spawn(command, [file], {
      cwd: scratch,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#ended = new Promise((ended) => this.#process.once('exit', ended));
    // None outlives a step that fails.
    process.once('exit', () => this.#process.kill('SIGKILL'));
    createInterface({ input: this.#process.stdout! }).on('line', (line) => this.lines.push(line));
  }

  async stop(): Promise<void> {
    this.#process.kill();
    await this.#ended;
  }

  /** Reads until a line holds a text. */
  async says(text: string): Promise<void> {
    while (!(await this.lines.next(text)).includes(text));
  }

  /** Records orders until one is told of: the program follows from now on. */
  async follows(): Promise<void> {
    for (;;) {
      const { order: recorded } = await order();
      const told = await this.lines.next('an order', 500).catch(() => undefined);
      if (told?.includes(recorded)) return;
      if (told) return this.says(recorded);
    }
  }
}

const earlier = await order();

type Sessions = {
  logIn(tenant: string, email: string, password: string): Promise<void>;
  accessToken(): Promise<string>;
};

await step('session.ts logs in, and renews the token shortly before its end, once for all who ask', async () => {
  const { logIn, accessToken } = await bundle<Sessions>('session', `export * from './session';`);
  await logIn('home', 'owner@home.test', given('TRIBUTARY_TEST_PASSWORD'));
  const { fetch } = globalThis;
  const { now } = Date;
  let sent = 0;
  globalThis.fetch = (...request) => {
    sent += 1;
    return fetch(...request);
  };
  const first = await accessToken();
  equal(sent, 0);
  Date.now = () => now() + 880_000;
  const [renewed, ...others] = await Promise.all([accessToken(), accessToken(), accessToken()]);
  Object.assign(Date, { now });
  Object.assign(globalThis, { fetch });
  equal(sent, 1);
  deepEqual(others, [renewed, renewed]);
  ok(first && renewed);
  await logIn('home', 'owner@home.test', 'wrong').then(
    () => Promise.reject(new Error('logged in')),
    ({ message }: Error) => match(message, /wrong/),
  );
});

await step('React with Apollo Client shows a live list', async () => {
  const { createElement } = await import('react');
  const { createRoot } = await import('react-dom/client');
  const { ApolloProvider } = await import('@apollo/client/react');
  const { logIn, client, LiveConversions } = await bundle<Sessions & { client: any; LiveConversions: any }>(
    'react',
    `export * from './session'; export * from './apollo'; export * from './LiveConversions';`,
  );
  await logIn('home', 'owner@home.test', given('TRIBUTARY_TEST_PASSWORD'));
  const root = createRoot(document.getElementById('root')!);
  root.render(createElement(ApolloProvider, { client, children: createElement(LiveConversions) }));
  await isLive();
  root.unmount();
});

await step('Vue with urql shows a live list', async () => {
  const { createApp } = await import('vue');
  const { default: urql } = await import('@urql/vue');
  const { logIn, client, LiveConversions } = await bundle<Sessions & { client: any; LiveConversions: any }>(
    'vue',
    `export * from './session';
     export * from './urql';
     export { default as LiveConversions } from './LiveConversions.vue';`,
  );
  await logIn('home', 'owner@home.test', given('TRIBUTARY_TEST_PASSWORD'));
  const app = createApp(LiveConversions).use(urql, client);
  app.mount(document.getElementById('root')!);
  await isLive();
  app.unmount();
});

const { createApiKey } = await ask<{ createApiKey: { secret: string } }>(
  'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }',
  { input: { name: 'Follows', scopes: ['READ'] } },
);
const key = { TRIBUTARY_API_KEY: createApiKey.secret };

await step('follow.mjs goes on behind a broken connection, and as the next process', async () => {
  const program = new Program(process.execPath, 'follow.mjs', key);
  await program.follows();
  way.cut();
  const missed = await order();
  await program.says(`RECORDED ${missed.order} PENDING`);
  await program.stop();
  const meanwhile = await order();
  const next = new Program(process.execPath, 'follow.mjs', key);
  // Behind the one before, or with it: it was told, and may have been stopped before it was written down.
  await next.says(`RECORDED ${meanwhile.order} PENDING`);
  await next.stop();
});

await step('follow.py goes on behind a broken connection', async () => {
  const program = new Program(new URL('../.venv/bin/python', import.meta.url).pathname, 'follow.py', key);
  await program.follows();
  way.cut();
  const missed = [await order(), await order()];
  for (const { order } of missed) equal(await program.lines.next(), `RECORDED ${order} PENDING`);
  await program.stop();
});

await step('follow.sh goes on behind a cursor', async () => {
  const cursor = await cursorNow();
  const { order: recorded } = await order();
  const program = new Program('bash', 'follow.sh', { ...key, CURSOR: cursor });
  await program.says(recorded);
  await program.stop();
});

rmSync(scratch, { recursive: true });
// Clients keep sockets and timers for what may come; there is no more.
process.exit();
