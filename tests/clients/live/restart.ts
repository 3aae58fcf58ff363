/** A node that is stopped and started again: clients are told so (1012), come back by themselves and miss nothing. */

import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

import { connect } from '../generated/readme/live.ts';
import { deepEqual, equal, Inbox, step, within } from '../lib/check.ts';
import {
  CONVERSIONS,
  cursorNow,
  given,
  ownerToken,
  record,
  socketEndpoint,
  url,
  type Conversions,
} from '../lib/world.ts';

/** Starts the node at its address, and waits until it serves. */
async function start(): Promise<ChildProcess> {
  const node = spawn(given('TRIBUTARY_TEST_PROGRAM'), ['serve'], {
    env: { ...process.env, TRIBUTARY_LISTEN: new URL(url).host },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = createInterface({ input: node.stderr! });
  await within('the start of the node', new Promise<void>((served, failed) => {
    const said: string[] = [];
    lines.on('line', (line) => {
      said.push(line);
      if (line.includes('listen.address')) served();
    });
    node.once('exit', () => failed(new Error(said.join('\n'))));
  }));
  return node;
}

/** Asks it to end, and waits. */
async function stop(node: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => node.once('exit', resolve));
  node.kill('SIGTERM');
  equal(await within('the end of the node', ended), 0);
}

let node = await start();
try {
  const token = ownerToken();
  const told = new Inbox<string>();
  const codes: number[] = [];
  const client = connect({
    url: socketEndpoint,
    token: () => token,
    on: { closed: (event) => codes.push((event as CloseEvent).code) },
  });
  const variables = { after: await cursorNow() };
  client.subscribe<Conversions>(
    { query: CONVERSIONS, variables },
    {
      next: ({ data }) => data && told.push(data.conversions.conversion.id),
      error: (error) => told.fail(error),
      complete: () => told.fail(new Error('completed')),
    },
  );

  await step('the subscription goes on behind a restart', async () => {
    const before = await record();
    equal(await told.next(), before);
    await stop(node);
    node = await start();
    const behind = [await record(), await record()];
    deepEqual([await told.next(), await told.next()], behind);
    // Attempts while it was away are 1006.
    equal(codes[0], 1012);
  });
  await client.dispose();
} finally {
  node.kill('SIGKILL');
}
