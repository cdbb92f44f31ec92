import { expect } from 'chai';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopTestDatabase, testDatabase } from '../postgres/server.js';
import { rabbitmqService } from '../services/rabbitmq.js';
import { kafkaService } from '../services/kafka.js';
import { useService } from '../services/in-tests.js';
import { EXAMPLES, lastLine, run, runIn, withMistake } from './running-example.js';

const SHOP = join(EXAMPLES, '03-order-fulfilment', 'dist', 'main.js');
const FEW = ['--orders', '60'];

after(stopTestDatabase);

function folders(): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('refold-fulfilment-'));
}

describe('the order fulfilment example', function () {
  this.timeout(120_000);

  it('balances its books after the shipper was down, and removes its files', async () => {
    const before = folders();
    const outcome = await run(SHOP, ...FEW);
    expect(outcome).to.include({ code: 0, stderr: '' });
    expect(lastLine(outcome)).to.equal('The books balance.');
    expect(outcome.stdout).to.match(/^The shipper is back\. [1-9]\d* dead letters are tried again\.$/m);
    expect(outcome.stdout).to.match(/^ {2}[1-9]\d* because the card was declined$/m);
    expect(outcome.stdout).to.match(/^ {2}[1-9]\d* because nobody delivers to /m);
    expect(outcome.stdout).to.match(/^Mails: {2}60; /m);
    expect(folders().filter((name) => !before.includes(name))).to.deep.equal([]);
  });

  const mistakes = [
    [
      'payments/payment.js',
      'PaymentRefunded(this.id, this.cents)',
      'PaymentRefunded(this.id, this.cents - 1)',
      /^WRONG {2}cents taken and not refunded: \d+, expected \d+$/m,
    ],
    [
      'inventory/main.js',
      'shipped: line.shipped + quantity',
      'shipped: line.shipped + 1',
      /^WRONG {2}\w+ shipped: \d+, expected \d+$/m,
    ],
    [
      'service/service.js',
      'receive(service.receiver, message)',
      'receive(service.receiver, { ...message, attributes: { ...message.attributes, id: String(Math.random()) } })',
      /^WRONG {2}dead letters: \d+, expected 0$/m,
    ],
  ] as const;
  for (const [module, right, wrong, found] of mistakes) {
    it(`says what does not balance, and fails, when "${right}" is "${wrong}"`, async () => {
      const outcome = await run(...withMistake('03-order-fulfilment', module, right, wrong), SHOP, ...FEW);
      expect(outcome).to.include({ code: 1, stderr: '' });
      expect(outcome.stdout).to.match(found);
      expect(lastLine(outcome)).to.match(/^The books do not balance: [1-9]/);
    });
  }

  it('refuses bad arguments with a message, its help, and exit code 2', async () => {
    const bad = [
      [['--orders', 'many'], 'must be a whole number from 20, got "many"'],
      [['--store', 'paper'], '--store must be sqlite or postgres, got "paper"'],
      [['--transport', 'pigeon'], '--transport must be webhook or rabbitmq or kafka, got "pigeon"'],
      [['--fast'], '--fast'],
    ] as const;
    for (const [args, message] of bad) {
      const outcome = await run(SHOP, ...args);
      expect(outcome, args.join(' ')).to.include({ code: 2, stdout: '' });
      expect(outcome.stderr.split('\n')[0]).to.include(message);
      expect(outcome.stderr).to.include('--orders N');
    }
  });

  describe('with RabbitMQ, on PostgreSQL', () => {
    const broker = useService('RabbitMQ', rabbitmqService);

    it('balances its books too', async () => {
      const settings = { DATABASE_URL: await testDatabase(), REFOLD_RABBITMQ_URL: broker().address };
      const outcome = await runIn(settings, SHOP, ...FEW, '--store', 'postgres', '--transport', 'rabbitmq');
      expect(outcome).to.include({ code: 0, stderr: '' });
      expect(lastLine(outcome)).to.equal('The books balance.');
    });
  });

  describe('with Kafka', () => {
    const brokers = useService('Kafka', kafkaService);

    it('balances its books too', async () => {
      const settings = { REFOLD_KAFKA_BROKERS: brokers().address };
      const outcome = await runIn(settings, SHOP, ...FEW, '--transport', 'kafka');
      expect(outcome).to.include({ code: 0, stderr: '' });
      expect(lastLine(outcome)).to.equal('The books balance.');
    });
  });
});
