import {
  DecodeError,
  defineEvent,
  DefinitionError,
  event,
  EventCodec,
  UnknownEventTypeError,
  UnknownEventVersionError,
} from '@refold/core';
import { expect } from 'chai';
import { Expose, Transform, Type } from 'class-transformer';
import { BasketEmptied, Line, LinesAdded, MoreLinesAdded } from './fixtures-legacy/basket.js';
import { stored, thrownBy } from './stores.js';

let constructed = 0;

@event('OrderPlaced')
class OrderPlaced {
  readonly total: number;
  readonly note?: string;

  constructor(total: number) {
    constructed++;
    this.total = total;
  }

  isLarge(): boolean {
    return this.total > 100;
  }
}

const Renamed = defineEvent('CustomerRenamed', (name: string) => ({ name }), { aliases: ['NameChanged'] });

describe('EventCodec', () => {
  describe('with a class', () => {
    const codec = new EventCodec([OrderPlaced]);

    it('encodes an instance under its stable name and version, with a new id each time', () => {
      const placed = new OrderPlaced(5);
      const first = codec.encode(placed);
      expect(first).to.deep.include({ type: 'OrderPlaced', version: 1, metadata: undefined });
      expect(JSON.stringify(first.data)).to.equal('{"total":5}');
      expect(codec.encode(placed).id)
        .to.match(/^[0-9a-f-]{36}$/)
        .and.not.equal(first.id);
    });

    it('decodes to an instance, and runs no constructor', () => {
      const before = constructed;
      const { data } = codec.decode(stored('OrderPlaced', { total: 500 }));
      expect(data).to.be.instanceOf(OrderPlaced);
      expect(data).to.deep.include({ total: 500 });
      expect(data instanceof OrderPlaced && data.isLarge()).to.equal(true);
      expect(constructed).to.equal(before);
    });

    it('keeps everything of the stored event but its data', () => {
      const recorded = { ...stored('OrderPlaced', { total: 1 }), metadata: { correlationId: 'c' } };
      const decoded = codec.decode(recorded);
      expect({ ...decoded, data: undefined }).to.deep.equal({ ...recorded, data: undefined });
      expect(recorded.data).to.deep.equal({ total: 1 });
    });

    it('gives aggregates the instance', () => {
      const decoded = codec.decode(stored('OrderPlaced', { total: 1 }));
      expect(codec.domainEvent(decoded)).to.equal(decoded.data);
    });

    it('refuses the plain form of an event that is a class, which handlers would misread', () => {
      const error = thrownBy(() => codec.encode({ type: 'OrderPlaced', data: { total: 1 } }));
      expect(error).to.be.instanceOf(DefinitionError);
      expect(error)
        .to.have.property('message')
        .that.matches(/"OrderPlaced".*class/);
    });

    it('takes a class whose data has properties called type and data for what it is', () => {
      @event('Wrapped')
      class Wrapped {
        readonly type = 'inner';
        readonly data = { deep: true };
      }
      const own = new EventCodec([Wrapped]);
      const { type, data } = own.encode(new Wrapped());
      expect(type).to.equal('Wrapped');
      expect(JSON.stringify(data)).to.equal('{"type":"inner","data":{"deep":true}}');
      expect(own.domainEvent(own.decode(stored('Wrapped', { type: 'inner', data: 1 })))).to.be.instanceOf(
        Wrapped,
      );
    });
  });

  describe('with a plain event', () => {
    const codec = new EventCodec([Renamed]);

    it('encodes its data', () => {
      expect(codec.encode(Renamed('Ann'))).to.deep.include({
        type: 'CustomerRenamed',
        data: { name: 'Ann' },
      });
    });

    it('decodes to the very event that was stored', () => {
      const recorded = stored('CustomerRenamed', { name: 'Ann' });
      expect(codec.decode(recorded)).to.equal(recorded);
      expect(codec.domainEvent(recorded)).to.equal(recorded);
    });

    it('finds an event under an alias and gives it the present name', () => {
      const decoded = codec.decode(stored('NameChanged', { name: 'Bob' }));
      expect(decoded).to.deep.include({ type: 'CustomerRenamed', data: { name: 'Bob' } });
      expect(codec.encode({ type: 'NameChanged', data: { name: 'Bob' } }).type).to.equal('CustomerRenamed');
    });

    it('names the type and all its aliases for filters', () => {
      expect(codec.storedNames([Renamed])).to.deep.equal(['CustomerRenamed', 'NameChanged']);
    });

    it('hands handlers what revive makes, and writes what the event holds', () => {
      const At = defineEvent('At', (at: Date) => ({ at }), {
        revive: ({ at }: { at: string }) => ({ at: new Date(at) }),
      });
      const own = new EventCodec([At]);
      const data = JSON.parse(JSON.stringify(own.encode(At(new Date(5))).data)) as unknown;
      expect(own.decode(stored('At', data)).data).to.deep.equal({ at: new Date(5) });
    });
  });

  describe('with older versions', () => {
    const steps: string[] = [];
    const Priced = defineEvent(
      'Priced',
      (net: number, tax: number, currency: string) => ({ net, tax, currency }),
      {
        version: 3,
        upcasters: {
          1: ({ price }: { price: number }) => {
            steps.push('1 to 2');
            return { net: price, tax: 0 };
          },
          2: (data: { net: number; tax: number }) => {
            steps.push('2 to 3');
            return { ...data, currency: 'EUR' };
          },
        },
      },
    );
    const codec = new EventCodec([Priced]);
    beforeEach(() => steps.splice(0));

    it('leads the data forward step by step', () => {
      const decoded = codec.decode(stored('Priced', { price: 7 }, 1));
      expect(decoded.data).to.deep.equal({ net: 7, tax: 0, currency: 'EUR' });
      expect(steps).to.deep.equal(['1 to 2', '2 to 3']);
    });

    it('begins at the version that the event was written with, and still tells that one', () => {
      const decoded = codec.decode(stored('Priced', { net: 1, tax: 2 }, 2));
      expect(decoded).to.deep.include({ version: 2, data: { net: 1, tax: 2, currency: 'EUR' } });
      expect(steps).to.deep.equal(['2 to 3']);
    });

    it('leaves data of the current version alone, and writes that version', () => {
      const current = stored('Priced', { net: 1, tax: 2, currency: 'USD' }, 3);
      expect(codec.decode(current)).to.equal(current);
      expect(steps).to.deep.equal([]);
      expect(codec.encode(Priced(1, 2, 'USD')).version).to.equal(3);
    });

    it('leads forward first and makes the instance last', () => {
      @event('Sized', { version: 2, upcasters: { 1: ({ cm }: { cm: number }) => ({ mm: cm * 10 }) } })
      class Sized {
        constructor(readonly mm: number) {}
      }
      const { data } = new EventCodec([Sized]).decode(stored('Sized', { cm: 3 }));
      expect(data).to.be.instanceOf(Sized).and.have.property('mm', 30);
    });

    it('refuses a version that this code does not know yet, and says to deploy', () => {
      const error = thrownBy(() => codec.decode(stored('Priced', {}, 4)));
      expect(error).to.be.instanceOf(UnknownEventVersionError);
      expect(error).to.deep.include({
        type: 'Priced',
        version: 4,
        current: 3,
        place: 'order-42 at revision 3',
      });
      expect(error)
        .to.have.property('message')
        .that.matches(/deploy/);
    });

    it('refuses a version that it cannot lead forward, and names the missing step', () => {
      const Gap = defineEvent('Gap', () => ({}), { version: 3, upcasters: { 1: (data) => data } });
      const error = thrownBy(() => new EventCodec([Gap]).decode(stored('Gap', {}, 1)));
      expect(error).to.be.instanceOf(UnknownEventVersionError).and.deep.include({ version: 2, current: 3 });
      expect(error).to.have.property('message').that.includes('upcasters[2]');
    });

    it('wraps what an upcaster throws, with the event and the step', () => {
      const cause = new TypeError('no price');
      const Bad = defineEvent('Bad', () => ({}), {
        version: 2,
        upcasters: {
          1: () => {
            throw cause;
          },
        },
      });
      const error = thrownBy(() => new EventCodec([Bad]).decode(stored('Bad', {}, 1)));
      expect(error).to.be.instanceOf(DecodeError).and.deep.include({ type: 'Bad', version: 1 });
      expect(error).to.have.property('cause', cause);
    });

    it('wraps what revive throws', () => {
      const cause = new TypeError('no date');
      const Bad = defineEvent('Bad', () => ({}), {
        revive: () => {
          throw cause;
        },
      });
      const error = thrownBy(() => new EventCodec([Bad]).decode(stored('Bad', {})));
      expect(error).to.be.instanceOf(DecodeError).and.have.property('cause', cause);
    });
  });

  describe('with class-transformer', () => {
    const codec = new EventCodec([LinesAdded, MoreLinesAdded, BasketEmptied]);
    const throughJson = (made: object): unknown => {
      const { type, data } = codec.encode(made);
      return codec.decode(stored(type, JSON.parse(JSON.stringify(data)))).data;
    };

    it('brings nested classes, dates and transformed values back', () => {
      const at = new Date('2024-05-06T07:08:09.010Z');
      const back = throughJson(new LinesAdded([new Line('a', 2, 5), new Line('b', 1, 3)], at, 2n ** 70n));
      if (!(back instanceof LinesAdded)) throw new Error('Expected an instance of LinesAdded');
      expect(back.lines[1]).to.be.instanceOf(Line);
      expect(back.total()).to.equal(13);
      expect(back.at).to.be.instanceOf(Date).and.deep.equal(at);
      expect(back.weight).to.equal(2n ** 70n);
    });

    it('serves classes that inherit such a property', () => {
      const back = throughJson(new MoreLinesAdded([new Line('a', 1, 1)], new Date(0), 1n));
      expect(back).to.be.instanceOf(MoreLinesAdded);
      expect(back).to.have.property('at').that.is.instanceOf(Date);
    });

    it('lets classes without its decorators take the fast path, in the same application', () => {
      const emptied = new BasketEmptied('sold out');
      const before = BasketEmptied.constructed;
      expect(codec.encode(emptied).data).to.equal(emptied);
      expect(throughJson(emptied)).to.be.instanceOf(BasketEmptied).and.have.property('reason', 'sold out');
      expect(BasketEmptied.constructed).to.equal(before);
    });

    for (const [name, decorate] of [
      ['@Expose', Expose({ name: 'other' })],
      ['@Transform', Transform(({ value }: { value: number }) => value + 1, { toPlainOnly: true })],
      ['@Type', Type(() => Line)],
    ] as const) {
      it(`sees a class that uses only ${name}, decorated by hand`, () => {
        @event('Handmade')
        class Handmade {
          value: unknown = 1;
        }
        decorate(Handmade.prototype, 'value');
        const made = new Handmade();
        expect(new EventCodec([Handmade]).encode(made).data).to.not.equal(made);
      });
    }

    it('chooses once a class, when the codec is made', () => {
      @event('LateDecorated')
      class LateDecorated {
        at = new Date(0);
      }
      const early = new EventCodec([LateDecorated]);
      Type(() => Date)(LateDecorated.prototype, 'at');
      const made = new LateDecorated();
      expect(early.encode(made).data).to.equal(made);
      expect(new EventCodec([LateDecorated]).encode(made).data).to.not.equal(made);
    });

    it('leaves a class with a revive of its own to that', () => {
      @event<Dated>('Dated', { revive: ({ at }: { at: string }) => new Dated(new Date(at)) })
      class Dated {
        constructor(readonly at: Date) {}
      }
      Type(() => Line)(Dated.prototype, 'at');
      const own = new EventCodec([Dated]);
      const { data } = own.decode(stored('Dated', { at: new Date(9).toISOString() }));
      expect(data)
        .to.be.instanceOf(Dated)
        .and.deep.include({ at: new Date(9) });
    });
  });

  describe('as a registry', () => {
    it('refuses to read a type that it does not know, and says where it met it', () => {
      const error = thrownBy(() => new EventCodec([]).decode(stored('Ghost', {})));
      expect(error).to.be.instanceOf(UnknownEventTypeError);
      expect(error).to.deep.include({ type: 'Ghost', place: 'order-42 at revision 3' });
    });

    it('refuses to write a type that it does not know', () => {
      const error = thrownBy(() => new EventCodec([]).encode(new OrderPlaced(1)));
      expect(error).to.be.instanceOf(UnknownEventTypeError).and.have.property('type', 'OrderPlaced');
    });

    it('refuses to write an instance of a class without a name', () => {
      class Undeclared {}
      const error = thrownBy(() => new EventCodec([]).encode(new Undeclared()));
      expect(error).to.be.instanceOf(DefinitionError).and.have.property('subject', 'Event Undeclared');
    });

    it('refuses an instance whose class only inherits a declared one', () => {
      class Special extends OrderPlaced {}
      expect(thrownBy(() => new EventCodec([OrderPlaced]).encode(new Special(1)))).to.be.instanceOf(
        DefinitionError,
      );
    });

    it('refuses two types of one name', () => {
      const one = defineEvent('Same', () => ({}));
      const other = defineEvent('Same', () => ({}));
      expect(thrownBy(() => new EventCodec([one, other]))).to.be.instanceOf(DefinitionError);
    });

    it("refuses an alias that is another type's name", () => {
      const one = defineEvent('New', () => ({}), { aliases: ['CustomerRenamed'] });
      expect(thrownBy(() => new EventCodec([Renamed, one]))).to.be.instanceOf(DefinitionError);
      expect(thrownBy(() => new EventCodec([one, Renamed]))).to.be.instanceOf(DefinitionError);
    });

    it('takes the same type as often as it is named', () => {
      expect(new EventCodec([Renamed, Renamed]).storedNames([Renamed])).to.have.length(2);
    });
  });
});

describe('an event declaration', () => {
  for (const [problem, declare] of [
    ['no name', () => defineEvent('', () => ({}))],
    ['version 0', () => defineEvent('X', () => ({}), { version: 0 })],
    ['half a version', () => defineEvent('X', () => ({}), { version: 1.5 })],
    [
      'an upcaster from its own version',
      () => defineEvent('X', () => ({}), { upcasters: { 1: (data) => data } }),
    ],
    [
      'an upcaster from version 0',
      () => defineEvent('X', () => ({}), { version: 2, upcasters: { 0: (data) => data } }),
    ],
  ] as const) {
    it(`is refused with ${problem}`, () => {
      expect(thrownBy(declare)).to.be.instanceOf(DefinitionError);
    });
  }

  it('can be a plain call on a class', () => {
    class Called {
      readonly at = 1;
    }
    event('Called')(Called);
    expect(new EventCodec([Called]).encode(new Called()).type).to.equal('Called');
  });
});
