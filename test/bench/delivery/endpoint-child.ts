// Takes requests, and tells how many there were.
import { createServer } from 'node:http';

let count = 0;
const server = createServer((request, response) => {
  request.resume();
  request.once('end', () => {
    count += 1;
    response.writeHead(204).end();
  });
});
// One side rests while the other has its rounds.
server.keepAliveTimeout = 120_000;
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send?.('ready'));
process.on('message', () => {
  process.send?.(count);
  count = 0;
});
process.once('disconnect', () => {
  server.closeAllConnections();
  server.close();
});
