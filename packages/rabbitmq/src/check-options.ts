import { InvalidArgumentError } from '@refold/core';

/** @throws InvalidArgumentError unless there is at least one address */
export function checkUrl(url: unknown): void {
  const urls: unknown[] = Array.isArray(url) ? url : [url];
  const isAddress = (one: unknown): boolean => typeof one === 'string' && /^amqps?:\/\//.test(one);
  // Its value is not told: it has a password in it.
  if (urls.length === 0 || !urls.every(isAddress)) {
    throw new InvalidArgumentError('url', typeof url, 'must be an address like amqp://host:5672, or several');
  }
}

/** @throws InvalidArgumentError unless all that are given are whole numbers above 0 */
export function checkNumbers(numbers: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw new InvalidArgumentError(name, value, 'must be a whole number above 0');
    }
  }
}
