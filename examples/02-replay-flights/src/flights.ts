import { fileURLToPath } from 'node:url';
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead, type ColumnData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** How many flights the file holds. */
export const ALL_FLIGHTS = 3_000_000;

/** The raw columns of the file; row `i` of each is flight `i`. Flights are in the order of their departure. */
export interface Flights {
  readonly count: number;
  /** Minutes since 1970, in the local time of the origin. */
  readonly departed: Int32Array;
  /** Minutes late on arrival; negative if early. */
  readonly delay: Int16Array;
  /** Miles. */
  readonly distance: Int16Array;
  readonly origin: readonly string[];
  readonly destination: readonly string[];
}

interface WritableFlights extends Flights {
  readonly origin: string[];
  readonly destination: string[];
}

/** Reads the first `count` flights of the recorded data, one row group at a time. */
export async function readFlights(count: number, onProgress: (read: number) => void): Promise<Flights> {
  const file = await asyncBufferFromFile(recordedFlights());
  const { row_groups: rowGroups } = await parquetMetadataAsync(file);
  const flights: WritableFlights = {
    count,
    departed: new Int32Array(count),
    delay: new Int16Array(count),
    distance: new Int16Array(count),
    origin: new Array<string>(count),
    destination: new Array<string>(count),
  };
  let rowStart = 0;
  for (const group of rowGroups) {
    if (rowStart >= count) break;
    const rowEnd = Math.min(count, rowStart + Number(group.num_rows));
    const onChunk = (chunk: ColumnData): void => copyColumn(chunk, flights);
    await parquetRead({
      file,
      compressors,
      parsers: { timestampFromMicroseconds: toMinutes },
      rowStart,
      rowEnd,
      onChunk,
    });
    rowStart = rowEnd;
    onProgress(rowStart);
  }
  return flights;
}

function recordedFlights(): string {
  return fileURLToPath(new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')));
}

/** Times stand in the file as microseconds of local time, always full minutes. */
function toMinutes(microseconds: bigint): number {
  return Number(microseconds) / 60_000_000;
}

/** Copies one column of one row group, as far as rows were asked for. */
function copyColumn({ columnName, columnData, rowStart }: ColumnData, flights: WritableFlights): void {
  const rows = Math.min(columnData.length, flights.count - rowStart);
  const values: readonly unknown[] | ArrayLike<number | bigint> = columnData;
  for (let i = 0; i < rows; i++) {
    const value: unknown = values[i];
    if (columnName === 'origin' || columnName === 'destination') {
      flights[columnName][rowStart + i] = String(value);
    } else if (columnName === 'delay' || columnName === 'distance') {
      flights[columnName][rowStart + i] = Number(value);
    } else {
      flights.departed[rowStart + i] = Number(value);
    }
  }
}
