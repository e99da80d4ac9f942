import { log } from '@temporalio/activity';

/** Stands for a call to an outside system. */
export async function post(text: string): Promise<string> {
  log.info('posted', { text });
  return text;
}
