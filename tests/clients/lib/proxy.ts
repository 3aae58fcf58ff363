/** A way to the node that can be cut. */

import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import { url } from './world.ts';

export class Proxy {
  readonly #open = new Set<Socket>();
  readonly #server = createServer((client) => {
    const { hostname, port } = new URL(url);
    const node = connect({ host: hostname, port: Number(port) });
    for (const [from, to] of [[client, node], [node, client]] as const) {
      this.#open.add(from);
      from.pipe(to);
      // One end's loss is the other's.
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        this.#open.delete(from);
      });
    }
  });

  /** Opens one on a free port. */
  static async open(): Promise<Proxy> {
    const proxy = new Proxy();
    await new Promise<void>((opened) => proxy.#server.listen(0, '127.0.0.1', opened));
    return proxy;
  }

  /** The address in place of the node's. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/graphql`;
  }

  get socketEndpoint(): string {
    return this.endpoint.replace('http', 'ws');
  }

  /** Cuts every connection, without a word to either side. */
  cut(): void {
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }
}
