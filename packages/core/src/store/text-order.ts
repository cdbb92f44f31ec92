/** By code point, as databases compare binary UTF-8. JavaScript's own order, by UTF-16 unit, is another beyond U+FFFF. */
export function compareText(a: string, b: string): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  // Behind the first half of a pair, the whole pair is what differs.
  if (at > 0 && isHighSurrogate(a, at - 1) && (isLowSurrogate(a, at) || isLowSurrogate(b, at))) at--;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

function isHighSurrogate(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit < 0xdc00;
}

function isLowSurrogate(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit < 0xe000;
}
