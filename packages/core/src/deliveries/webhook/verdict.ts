import { messageOf } from '../../errors.js';
import { PrivateAddressError } from './addresses.js';
import { NoAnswerError, type Answer } from './exchange.js';

/**
 * What an exchange says of the message and of the endpoint:
 * - `accepted`
 * - `unavailable`: the endpoint cannot take any message now
 * - `doubtful`: that, or it is this message that it cannot bear
 * - `rejected`: it does not take this message
 * - `gone`: it wants no messages any more
 */
export type Verdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'unavailable' | 'doubtful'; readonly reason: string; readonly retryAfterMs?: number }
  | { readonly kind: 'rejected'; readonly reason: string; readonly permanent: boolean }
  | { readonly kind: 'gone'; readonly reason: string };

/** The longest wait that an endpoint may ask for: an hour. */
const LONGEST_ASKED_MS = 3_600_000;

/** What an answer says. */
export function verdictOf(answer: Answer): Verdict {
  const { status } = answer;
  if (status >= 200 && status < 300) return { kind: 'accepted' };
  const reason = `it answered ${status}${excerptOf(answer)}`;
  const retryAfterMs = retryAfterOf(answer);
  switch (status) {
    case 408:
    case 425:
    case 429:
      return { kind: 'unavailable', reason, retryAfterMs };
    case 502:
    case 503:
    case 504:
      // A proxy says so too when a message makes the program behind it crash or hang; who names a time means itself.
      return { kind: retryAfterMs === undefined ? 'doubtful' : 'unavailable', reason, retryAfterMs };
    case 410:
      return { kind: 'gone', reason };
    default:
      return { kind: 'rejected', reason, permanent: status === 413 };
  }
}

/** What it says when no answer comes, or when none can. */
export function verdictOfError(error: unknown): Verdict {
  if (error instanceof NoAnswerError) {
    const { cause, message, connected } = error;
    if (cause instanceof PrivateAddressError) return { kind: 'rejected', reason: message, permanent: true };
    return { kind: connected ? 'doubtful' : 'unavailable', reason: message };
  }
  // The request could not even be made, e.g. of a header that HTTP does not allow.
  return { kind: 'rejected', reason: messageOf(error), permanent: true };
}

/** `Retry-After` in milliseconds: of seconds or of a date. */
function retryAfterOf({ headers }: Answer): number | undefined {
  const asked = headers['retry-after']?.trim();
  if (!asked) return undefined;
  const ms = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now();
  if (Number.isNaN(ms)) return undefined;
  return Math.min(LONGEST_ASKED_MS, Math.max(0, ms));
}

function excerptOf({ excerpt }: Answer): string {
  // eslint-disable-next-line no-control-regex -- they would garble whatever shows the message
  const text = excerpt.replace(/[\s\u0000-\u001f\u007f]+/g, ' ').trim();
  return text === '' ? '' : `: ${text}`;
}
