import { RefoldError } from '../../errors.js';

/**
 * Why a signature does not hold:
 * - `missing`: a header is not there
 * - `expired`: its time is too long ago, or too far ahead
 * - `mismatch`: none of the signatures was made with one of the secrets, of this id, this time and this body
 */
export type SignatureProblem = 'missing' | 'expired' | 'mismatch';

/** A webhook does not come from who knows the secret, or was changed or held back on its way. Answer 401. */
export class WebhookSignatureError extends RefoldError {
  readonly code = 'WEBHOOK_SIGNATURE';

  constructor(
    readonly problem: SignatureProblem,
    message: string,
  ) {
    super(`The webhook is not to be trusted: ${message}`);
  }
}

/** A webhook is signed well but cannot be read. Answer 400. */
export class WebhookFormatError extends RefoldError {
  readonly code = 'WEBHOOK_FORMAT';

  constructor(message: string, cause?: unknown) {
    super(`The webhook cannot be read: ${message}`, { cause });
  }
}
