// Jobs of the tests: one JSON object a line on stdin, what came of it on stdout in the same way.

import { createInterface } from "node:readline";

/** Do each job as one of `doings`, until stdin ends; `named` tells the name of an error. */
export async function run(doings, named) {
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    const outcome = await Promise.resolve(doings[job.do](job)).then(
      (result) => ({ result }),
      (error) => ({ error: named(error) }),
    );
    process.stdout.write(JSON.stringify(outcome) + "\n");
  }
}

/** Seconds of the clock that Python calls `time.monotonic`. */
export const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

export const weather = ({ city }) => `rain in ${city}`;
