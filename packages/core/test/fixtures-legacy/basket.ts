import 'reflect-metadata';
import { aggregate, Aggregate, applies, event } from '@refold/core';
import { Transform, Type } from 'class-transformer';

export class Line {
  constructor(
    readonly sku: string,
    readonly quantity: number,
    readonly price: number,
  ) {}

  total(): number {
    return this.quantity * this.price;
  }
}

@event('LinesAdded')
export class LinesAdded {
  @Type(() => Line)
  readonly lines: Line[];

  @Type(() => Date)
  readonly at: Date;

  @Transform(({ value }: { value: bigint }) => value.toString(), { toPlainOnly: true })
  @Transform(({ value }: { value: string }) => BigInt(value), { toClassOnly: true })
  readonly weight: bigint;

  constructor(lines: Line[], at: Date, weight: bigint) {
    this.lines = lines;
    this.at = at;
    this.weight = weight;
  }

  total(): number {
    return this.lines.reduce((sum, line) => sum + line.total(), 0);
  }
}

/** Says nothing to class-transformer itself, but extends what does. */
@event('MoreLinesAdded')
export class MoreLinesAdded extends LinesAdded {}

@event('BasketEmptied')
export class BasketEmptied {
  static constructed = 0;

  constructor(readonly reason: string) {
    BasketEmptied.constructed++;
  }
}

@aggregate('basket', { snapshotEvery: 2 })
export class Basket extends Aggregate {
  @Type(() => Line)
  lines: Line[] = [];

  @Type(() => Date)
  changedAt: Date | null = null;

  add(lines: Line[], at: Date): void {
    this.record(new LinesAdded(lines, at, 1n));
  }

  empty(): void {
    this.record(new BasketEmptied('empty() was called'));
  }

  @applies(LinesAdded)
  protected added({ lines, at }: LinesAdded): void {
    this.lines.push(...lines);
    this.changedAt = at;
  }

  @applies(BasketEmptied)
  protected emptied(): void {
    this.lines = [];
  }
}

/** Compiled, never used: the types of `@applies` as a legacy decorator. */
export class LegacyTypes extends Aggregate {
  @applies(BasketEmptied)
  one({ reason }: BasketEmptied): string {
    return reason;
  }

  @applies(BasketEmptied, LinesAdded)
  both(_event: BasketEmptied | LinesAdded): void {}

  // @ts-expect-error the method takes another event
  @applies(LinesAdded)
  wrong({ reason }: BasketEmptied): string {
    return reason;
  }
}
