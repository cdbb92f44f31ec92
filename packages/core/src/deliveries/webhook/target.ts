import { endpointName } from './webhook-options.js';

/** Where a request goes, as the client wants to be told. */
export interface Target {
  readonly url: URL;
  /** Names it without what may be secret. */
  readonly name: string;
  /** The host without its port, and without the brackets of an address. */
  readonly hostname: string;
  readonly path: string;
  /** Of the user and password in the URL. */
  readonly authorization: string | undefined;
}

/** How many URLs are remembered. */
const MOST = 1000;

/** Reads URLs once for many messages. */
export class Targets {
  readonly #known = new Map<string, Target>();

  /** Throws what `read` throws. */
  get(text: string, read: (text: string) => URL): Target {
    const known = this.#known.get(text);
    if (known) return known;
    const target = targetOf(read(text));
    if (this.#known.size >= MOST) this.#known.clear();
    this.#known.set(text, target);
    return target;
  }
}

/** Where a request to a URL goes. */
export function targetOf(url: URL): Target {
  const { username, password, pathname, search } = url;
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    url,
    name: endpointName(url),
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    path: pathname + search,
    authorization: user === ':' ? undefined : `Basic ${Buffer.from(user).toString('base64')}`,
  };
}
