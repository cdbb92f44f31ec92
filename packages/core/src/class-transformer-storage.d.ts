/** The part of class-transformer 0.5.1's metadata storage that Refold asks; the package ships no types for this path. */
declare module 'class-transformer/cjs/storage.js' {
  export const defaultMetadataStorage: {
    readonly _typeMetadatas: ReadonlyMap<unknown, unknown>;
    readonly _transformMetadatas: ReadonlyMap<unknown, unknown>;
    readonly _exposeMetadatas: ReadonlyMap<unknown, unknown>;
    readonly _excludeMetadatas: ReadonlyMap<unknown, unknown>;
  };
}
