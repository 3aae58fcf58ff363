/** `t.js` and the pixel in Chromium: what a landing page keeps of a click, and what it sends from it. */

import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { chromium, type Page } from 'playwright-core';

import { deepEqual, equal, match, step, within } from '../lib/check.ts';
import { ask, click, url } from '../lib/world.ts';

type Convert = { goal?: string; orderId?: string; amount?: string; currency?: string };
declare global {
  interface Window {
    tributary: { clickId(): string | null; convert(conversion: Convert): boolean };
  }
}

const { made } = await ask<{ made: { token: string } }>(
  'mutation ($input: CreatePostbackEndpointInput!) { made: createPostbackEndpoint(input: $input) { token } }',
  { input: { name: 'pages', dialect: 'PIXEL', defaultGoal: 'sale' } },
);

const shop = createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end(`<!doctype html><script src="${url}/t.js" data-token="${made.token}"></script>`);
});
await new Promise<void>((listening) => shop.listen(0, '127.0.0.1', listening));
const { port } = shop.address() as AddressInfo;
/** Another site than the node's: a third party to it, as most shops are. */
const abroad = `http://shop.localhost:${port}`;
/** The same site, as with a tracking domain of one's own. */
const near = `http://127.0.0.1:${port}`;

const programs = 'command -v chromium || command -v chromium-browser || command -v google-chrome';
const executablePath = execFileSync('sh', ['-c', programs], { encoding: 'utf8' }).trim();
const browser = await chromium.launch({ executablePath, args: ['--test-third-party-cookie-phaseout'] });

/** A page of a visitor nobody has seen before. */
async function visitor(): Promise<Page> {
  return (await browser.newContext()).newPage();
}

const kept = (page: Page) => page.evaluate(() => window.tributary.clickId());

/** The conversions of an order, once there is one. */
async function recorded(orderId: string): Promise<unknown[]> {
  const query = `query ($filter: ConversionFilterInput!) {
    conversions(first: 5, filter: $filter) { nodes { click { id } saleAmount { amount currency } } }
  }`;
  const found = async () => {
    for (;;) {
      const { conversions } = await ask<{ conversions: { nodes: unknown[] } }>(query, {
        filter: { orderIds: [orderId] },
      });
      if (conversions.nodes.length > 0) return conversions.nodes;
      await setTimeout(50);
    }
  };
  return within(`a conversion of ${orderId}`, found());
}

const five = [{ click: { id: click }, saleAmount: { amount: '5.00', currency: 'EUR' } }];
const sale = (orderId: string): Convert => ({ goal: 'sale', orderId, amount: '5.00', currency: 'EUR' });

try {
  await step('the click id is kept first-party, and nothing of the node is', async () => {
    const page = await visitor();
    await page.goto(`${abroad}/landing?clickId=${click}`);
    equal(await kept(page), click);
    await page.goto(`${abroad}/checkout`);
    equal(await kept(page), click);
    const cookies = await page.context().cookies();
    deepEqual(
      cookies.map(({ name, value, domain, sameSite }) => ({ name, value, domain, sameSite })),
      [{ name: 'trb_click', value: click, domain: 'shop.localhost', sameSite: 'Lax' }],
    );
    const days = (cookies[0]!.expires * 1_000 - Date.now()) / 86_400_000;
    equal(Math.round(days), 30);
  });

  await step('either of cookie and storage is enough', async () => {
    const page = await visitor();
    await page.goto(`${abroad}/?click_id=${click}`);
    await page.context().clearCookies();
    await page.goto(abroad);
    equal(await kept(page), click);
    await page.goto(`${abroad}/?click_id=${click}`);
    await page.evaluate(() => localStorage.clear());
    await page.goto(abroad);
    equal(await kept(page), click);
    await page.context().clearCookies();
    await page.goto(abroad);
    equal(await kept(page), null);
    equal(await page.evaluate(() => window.tributary.convert({ orderId: 'nobody' })), false);
  });

  await step('what is kept in storage ends', async () => {
    const page = await visitor();
    await page.goto(`${abroad}/?clickId=${click}`);
    await page.context().clearCookies();
    await page.evaluate((id) => localStorage.setItem('trb_click', `${id} ${Date.now() - 1}`), click);
    await page.goto(abroad);
    equal(await kept(page), null);
  });

  await step("vendors' names are read, and only click ids are kept", async () => {
    for (const name of ['clickId', 'click_id', 'cid', '_ef_transaction_id']) {
      const page = await visitor();
      await page.goto(`${abroad}/?cid=123&${name === 'cid' ? '' : 'x=y&'}${name}=${click}`);
      equal(await kept(page), name === 'cid' ? null : click);
      await page.goto(`${abroad}/?${name}=${click}`);
      equal(await kept(page), click);
    }
  });

  await step('a conversion survives that its page is left, and is recorded once', async () => {
    const page = await visitor();
    await page.goto(`${abroad}/?clickId=${click}`);
    const order = crypto.randomUUID();
    await page.evaluate((conversion) => {
      window.tributary.convert(conversion);
      window.tributary.convert(conversion);
      window.location.href = '/thanks';
    }, sale(order));
    await page.waitForURL('**/thanks');
    deepEqual(await recorded(order), five);
  });

  for (const [what, spoil] of [
    ['fetch, where beacons are refused', () => void (navigator.sendBeacon = () => false)],
    [
      'an image, where fetch is, too',
      () => {
        navigator.sendBeacon = () => false;
        window.fetch = () => Promise.reject(new Error('blocked'));
      },
    ],
  ] as const) {
    await step(`a conversion goes by ${what}`, async () => {
      const page = await visitor();
      await page.addInitScript(spoil);
      await page.goto(`${abroad}/?clickId=${click}`);
      const order = crypto.randomUUID();
      equal(await page.evaluate((conversion) => window.tributary.convert(conversion), sale(order)), true);
      deepEqual(await recorded(order), five);
    });
  }

  await step('an image without a click id has that of the cookie, on the same site', async () => {
    const page = await visitor();
    await page.goto(`${near}/?clickId=${click}`);
    const order = crypto.randomUUID();
    const image = `${url}/pixel/${made.token}?order_id=${order}&amount=5.00&currency=EUR`;
    const answered = page.waitForResponse(image);
    await page.evaluate((src) => document.body.append(Object.assign(new Image(), { src })), image);
    equal((await answered).status(), 200);
    match((await answered).headers()['content-type'] ?? '', /image\/gif/);
    deepEqual(await recorded(order), five);
  });
} finally {
  await browser.close();
  shop.close();
}
