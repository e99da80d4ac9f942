import { ApplicationFailure, log, proxyActivities } from '@temporalio/workflow';
import type * as activities from './activities';
import type { Envelope } from './envelope';

const { post } = proxyActivities<typeof activities>({ startToCloseTimeout: '30 seconds' });

/** What this workflow reads of a webhook's body. Sentry sends much more. */
interface Body {
  data?: { issue?: { shortId?: string; title?: string; level?: string } };
}

/** What the Temporal UI shows as the run's output. */
export interface Result {
  issue: string;
  level: string;
  posted: string;
}

/** Runs once for each delivery that routes.yaml has for it. */
export async function PostNewIssue(envelope: Envelope): Promise<Result> {
  const { data } = JSON.parse(envelope.body) as Body;
  const issue = data?.issue;
  if (!issue?.shortId) {
    throw ApplicationFailure.nonRetryable(`${envelope.event_type} has no issue`);
  }
  log.info('sentry issue created', { issue: issue.shortId });
  const posted = await post(`${issue.shortId}: ${issue.title ?? ''}`);
  return { issue: issue.shortId, level: issue.level ?? '', posted };
}
