// Serves an ONNX file with onnxruntime-web's WebAssembly to piped.py, which documents the protocol.
//
//   node serve.mjs NODE_MODULES MODEL IN OUT
//
//   NODE_MODULES   the folder that holds onnxruntime-web
//   MODEL          an ONNX file
//   IN, OUT        file descriptors of two pipes
//
// It ends with exit code 0 when IN is closed.
import {readFileSync, readSync, writeSync} from 'node:fs';
import {createRequire} from 'node:module';
import {join, resolve} from 'node:path';

const MOST_CALLS = 100_000; // timed in one request

// A dtype's number in the protocol is its place here: DTYPES of piped.py.
const DTYPES = [
  ['float16', 2], ['float32', 4], ['float64', 8], ['int8', 1], ['int16', 2], ['int32', 4],
  ['int64', 8], ['uint8', 1], ['uint16', 2], ['uint32', 4], ['uint64', 8], ['bool', 1],
];
const ARRAYS = {
  float16: Uint16Array, float32: Float32Array, float64: Float64Array, int8: Int8Array,
  int16: Int16Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array,
  uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
};

const [nodeModules, model, input, output] = process.argv.slice(2);
const [IN, OUT] = [Number(input), Number(output)];

function read(length) {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length;) {
    const got = readSync(IN, data, at, length - at, null);
    if (got === 0) process.exit(0); // nobody is at the other end
    at += got;
  }
  return data;
}

function write(data) {
  for (let at = 0; at < data.length;) at += writeSync(OUT, data, at, data.length - at);
}

function writeNumbers(...numbers) {
  const data = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, i) => data.writeUInt32LE(number, 4 * i));
  write(data);
}

const readNumber = () => read(4).readUInt32LE();

function readTensors(ort) {
  return Array.from({length: readNumber()}, () => {
    const [dtype, bytes] = DTYPES[readNumber()];
    const sizes = Array.from({length: readNumber()}, () => Number(read(8).readBigUInt64LE()));
    const length = sizes.reduce((a, b) => a * b, 1);
    const data = new Uint8Array(read(length * bytes)); // a copy, for Buffer shares unaligned memory
    return new ort.Tensor(dtype, new ARRAYS[dtype](data.buffer, 0, length), sizes);
  });
}

function writeTensors(tensors) {
  const dtypes = tensors.map(({type}) => DTYPES.findIndex(([name]) => name === type));
  writeNumbers(0, tensors.length);
  tensors.forEach(({data, dims}, i) => {
    writeNumbers(dtypes[i], dims.length);
    const sizes = Buffer.alloc(8 * dims.length);
    dims.forEach((size, axis) => sizes.writeBigUInt64LE(BigInt(size), 8 * axis));
    write(sizes);
    write(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  });
}

// Seconds of each call, for so many seconds and at least once.
async function times(run, seconds) {
  const taken = [];
  const start = performance.now();
  for (let before = start; taken.length < MOST_CALLS;) {
    await run();
    const after = performance.now();
    taken.push((after - before) / 1e3);
    if (after - start >= 1e3 * seconds) break;
    before = after;
  }
  return {type: 'float64', dims: [taken.length], data: Float64Array.from(taken)};
}

// Calls what answers, and answers with the error where it throws.
async function answer(what) {
  let tensors;
  try {
    tensors = await what();
  } catch (error) {
    const message = Buffer.from(String(error?.message ?? error));
    writeNumbers(1, message.length);
    write(message);
    return;
  }
  writeTensors(tensors);
}

let ort, session;
await answer(async () => {
  ort = createRequire(join(resolve(nodeModules, '..'), 'index.js'))('onnxruntime-web');
  session = await ort.InferenceSession.create(readFileSync(model), {executionProviders: ['wasm']});
  return [];
});
while (session) {
  const seconds = read(8).readDoubleLE();
  const tensors = readTensors(ort);
  const feeds = Object.fromEntries(session.inputNames.map((name, i) => [name, tensors[i]]));
  await answer(async () => {
    if (seconds > 0) return [await times(() => session.run(feeds), seconds)];
    const results = await session.run(feeds);
    return session.outputNames.map((name) => results[name]);
  });
}
process.exit(0);
