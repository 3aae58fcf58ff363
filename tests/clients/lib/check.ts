/** What a program does, step by step: said as it begins, bounded in time, ended by the first that fails. */

export { deepEqual, equal, match, ok } from 'node:assert/strict';

/** How long anything may take that must come. */
const PATIENCE_MS = 30_000;

/** Does a step of a program. */
export async function step(name: string, body: () => Promise<void>): Promise<void> {
  console.log(`- ${name}`);
  await within(name, body());
}

/** What a promise comes to, or an error that names what did not come. */
export async function within<T>(name: string, promise: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${name}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Holds what is pushed until it is asked for, one by one. */
export class Inbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: { take: (item: T) => void; fail: (error: unknown) => void }[] = [];
  #failure: { error: unknown } | undefined;

  push(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting.take(item);
    else this.#items.push(item);
  }

  /** Ends it: whoever waits, and whoever asks after the last item, gets the error. */
  fail(error: unknown): void {
    this.#failure = { error };
    for (const waiting of this.#waiting.splice(0)) waiting.fail(error);
  }

  async next(what = 'the next message', ms = PATIENCE_MS): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return item;
    if (this.#failure) throw this.#failure.error;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const waiting = { take: resolve, fail: reject };
    this.#waiting.push(waiting);
    try {
      return await within(what, promise, ms);
    } finally {
      // Who waits no longer takes nothing from those that do.
      const place = this.#waiting.indexOf(waiting);
      if (place >= 0) this.#waiting.splice(place, 1);
    }
  }

  /** Whether nothing waits to be read. */
  get isEmpty(): boolean {
    return this.#items.length === 0;
  }
}
