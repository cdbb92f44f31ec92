import { parseArgs } from 'node:util';
import { brokerNamed, brokers } from './brokers.js';
import { deliverThroughCrashes } from './delivery-run.js';

const USAGE = `npm run crash:delivery -- [--broker NAME] [--messages N] [--kills N] [--seed S]

  --broker NAME  ${brokers.map(({ name }) => name).join(', ')} (default: one after the other)
  --messages N   how many messages are delivered (default 100000)
  --kills N      how many kills there are meanwhile, about (default 50)
  --seed S       plans the same kills again (default: another each time)

Kills the relay, the consumer and the broker while messages are delivered, and compares what arrived with what was appended.`;

interface Command {
  readonly broker: string | undefined;
  readonly messages: number;
  readonly kills: number;
  readonly seed: number;
}

function commandOf(args: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...args],
    options: {
      broker: { type: 'string' },
      messages: { type: 'string', default: '100000' },
      kills: { type: 'string', default: '50' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    },
  });
  const [messages, kills, seed] = [Number(values.messages), Number(values.kills), Number(values.seed)];
  if (!Number.isSafeInteger(messages) || messages < 1)
    throw new Error('--messages must be a whole number from 1');
  if (!Number.isSafeInteger(kills) || kills < 1) throw new Error('--kills must be a whole number from 1');
  if (seed >>> 0 !== seed) throw new Error('--seed must be a whole number from 0 to 4294967295');
  if (values.broker !== undefined) brokerNamed(values.broker);
  return { broker: values.broker, messages, kills, seed };
}

async function run(command: Command): Promise<boolean> {
  const { messages, kills, seed } = command;
  let right = true;
  for (const target of command.broker === undefined ? brokers : [brokerNamed(command.broker)]) {
    const service = await target.service();
    if ('missing' in service) {
      console.log(`${target.name} is skipped: ${service.missing}`);
      continue;
    }
    console.log(`${target.name}, seed ${seed}: ${messages} messages`);
    const started = performance.now();
    const messagesAKill = Math.max(1, Math.ceil(messages / kills));
    const outcome = await deliverThroughCrashes(target, service, {
      ...{ messages, messagesAKill, seed },
      onProgress: (line) => console.log(`  ${line}`),
    });
    for (const problem of outcome.problems) console.log(`  WRONG: ${problem}`);
    right &&= outcome.problems.length === 0;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(
      `${target.name}: ${outcome.events} events, kills ${JSON.stringify(outcome.kills)}, ${outcome.repeats} repeats on the way, ` +
        `${outcome.problems.length === 0 ? 'nothing lost, nothing twice in effect, all in order' : 'WRONG'} (${seconds} s)`,
    );
  }
  return right;
}

let command: Command;
try {
  command = commandOf(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
  process.exit(2);
}
process.exit((await run(command)) ? 0 : 1);
