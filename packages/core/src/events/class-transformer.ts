import { instanceToPlain, plainToInstance } from 'class-transformer';
import { defaultMetadataStorage } from 'class-transformer/cjs/storage.js';
import type { EventClass } from './event-type.js';

/**
 * Whether a class, or one that it extends, uses a decorator of class-transformer (`@Type`, `@Transform`, `@Expose`,
 * `@Exclude`). The library has no public question for this, so it is asked of its metadata storage.
 */
export function usesClassTransformer(eventClass: EventClass): boolean {
  const { _typeMetadatas, _transformMetadatas, _exposeMetadatas, _excludeMetadatas } = defaultMetadataStorage;
  const decorated = [_typeMetadatas, _transformMetadatas, _exposeMetadatas, _excludeMetadatas];
  for (
    let target: unknown = eventClass;
    typeof target === 'function';
    target = Object.getPrototypeOf(target)
  ) {
    const owner = target;
    if (decorated.some((metadata) => metadata.has(owner))) return true;
  }
  return false;
}

/** Plain data of an instance, by class-transformer. */
export function toPlain(instance: object): unknown {
  return instanceToPlain(instance);
}

/** An instance made of plain data, by class-transformer. */
export function toInstance(eventClass: EventClass, data: unknown): object {
  // The library constructs the class without arguments, which its types ask to be declared.
  return plainToInstance(eventClass as new () => object, data as object);
}

const transformed = new WeakMap<object, boolean>();

/** Data as JSON can take it: an instance of a class that uses class-transformer goes through it, all else is left as it is. */
export function plainData(data: unknown): unknown {
  if (typeof data !== 'object' || data === null || data.constructor === Object) return data;
  const type = data.constructor as EventClass;
  let uses = transformed.get(type);
  if (uses === undefined) transformed.set(type, (uses = usesClassTransformer(type)));
  return uses ? toPlain(data) : data;
}
