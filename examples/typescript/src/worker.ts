import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Worker } from '@temporalio/worker';
import * as activities from './activities';

async function main(): Promise<void> {
  // TEMPORAL_ADDRESS, TEMPORAL_API_KEY and so on, as the Go programs read them.
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const connection = await NativeConnection.connect(connectionOptions);
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: 'typescript', // as in routes.yaml
      workflowsPath: require.resolve('./workflows'),
      activities,
    });
    await worker.run(); // until SIGTERM or Ctrl-C
  } finally {
    await connection.close();
  }
}

main().catch((err: unknown) => {
  console.error(err);
  process.exitCode = 1;
});
