import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The folder of the examples. */
export const EXAMPLES = fileURLToPath(new URL('../../../examples/', import.meta.url));

/** How a program ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program with Node, to its end. */
export function run(...args: readonly string[]): Promise<Outcome> {
  return runIn({}, ...args);
}

/** Runs a program with Node, with further environment variables, to its end. */
export function runIn(variables: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...variables };
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject).once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** The last line that it printed. */
export function lastLine({ stdout }: Outcome): string | undefined {
  return stdout.trimEnd().split('\n').at(-1);
}

/** Node's arguments that load one of an example's modules with a text in it replaced, in processes that it starts too. */
export function withMistake(example: string, module: string, right: string, wrong: string): string[] {
  const hooks = `export async function load(url, context, next) {
    const loaded = await next(url, context);
    if (!url.endsWith(${JSON.stringify(`/${example}/dist/${module}`)})) return loaded;
    const source = String(loaded.source);
    if (!source.includes(${JSON.stringify(right)})) throw new Error('${module} has no such text');
    return { ...loaded, source: source.replace(${JSON.stringify(right)}, ${JSON.stringify(wrong)}) };
  }`;
  const register = `import { register } from 'node:module';
    register('data:text/javascript,${encodeURIComponent(hooks).replaceAll("'", '%27')}');`;
  return ['--import', `data:text/javascript,${encodeURIComponent(register)}`];
}
