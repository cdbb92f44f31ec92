import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./child.js', import.meta.url));

/** Runs one job in several processes that begin together, and returns what each told; a child that fails is an error. */
export async function together(job: string, file: string, count: number): Promise<unknown[]> {
  const children = Array.from({ length: count }, (_, index) => fork(PROGRAM, [job, file, String(index)]));
  try {
    const results = children.map(resultOf);
    await Promise.race([Promise.all(children.map((child) => once(child, 'message'))), Promise.all(results)]);
    for (const child of children) child.send('go');
    return await Promise.all(results);
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

/** Kills a process that tells of every commit as soon as it has told so often, and returns all that it told. */
export async function killedAfter(
  count: number,
  file: string,
  name: string,
  job = 'acknowledge',
): Promise<string[]> {
  const child = fork(PROGRAM, [job, file, name]);
  const ended = once(child, 'exit');
  const told: string[] = [];
  let times = 0;
  child.on('message', ({ result }: { result: string[] }) => {
    told.push(...result);
    if (++times === count) child.kill('SIGKILL');
  });
  const [code, signal] = (await ended) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself with code ${code}`);
  return told;
}

/** Runs a job in a process without a channel to this one, and returns its exit code and output once it has ended. */
export async function runToEnd(
  job: string,
  file: string,
  name = '',
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [PROGRAM, job, file, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

async function resultOf(child: ChildProcess): Promise<unknown> {
  let told: unknown;
  child.on('message', (message: { ready?: true; result?: unknown }) => {
    if (!message.ready) told = message.result;
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`a child ended with code ${code}`);
  return told;
}
