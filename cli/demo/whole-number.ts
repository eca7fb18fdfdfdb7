import { type OptionValues, UsageError } from '../command.ts';

/** An option that takes a whole number from 1; throws `UsageError` for anything else. */
export function wholeNumber(options: OptionValues, name: string, byDefault: number): number {
  const text = options.text(name);
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (!/^\d{1,7}$/.test(text) || value < 1)
    throw new UsageError(`--${name} must be a whole number from 1, not ${text}`);
  return value;
}
