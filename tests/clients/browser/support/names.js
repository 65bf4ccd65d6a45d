import { randomUUID } from 'node:crypto';

/** A destination that no other test uses. */
export const unique = (prefix = '/topic/') => `${prefix}${randomUUID()}`;
