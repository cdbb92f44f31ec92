// Inversify's decorators need it before the first class is defined.
import 'reflect-metadata';

export { BindingsError } from './errors.js';
export { BatchUnit, readModelOf, repositoryOf } from './identifiers.js';
export {
  injected,
  injectedTransport,
  type HandlerScope,
  type InjectedMethod,
  type InjectedOptions,
  type MethodName,
} from './injected.js';
export {
  RefoldModule,
  refoldModule,
  startRefold,
  type FromContainer,
  type RefoldModuleOptions,
} from './refold-module.js';
