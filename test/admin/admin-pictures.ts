/**
 * Each state of the admin page as people see it: pictures in light and dark, wide and narrow, and what is wrong with
 * it.
 *
 * The pictures lie outside of the repository: in the folder that TICKETMAILD_SCREENSHOTS names, else in the temporary
 * one.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { axeFindings, screenshot, sidewaysPixels } from '../support/browser.ts';

const picturesFolder = process.env['TICKETMAILD_SCREENSHOTS'] ?? join(tmpdir(), 'ticketmaild-screenshots');

const allLooks = [
  { name: 'light', scheme: 'light', width: 1280 },
  { name: 'light-narrow', scheme: 'light', width: 360 },
  { name: 'dark-narrow', scheme: 'dark', width: 360 },
  { name: 'dark', scheme: 'dark', width: 1280 },
] as const;

/** Two of them by default: the templates are tested in all four by `pages-browser.slow.test.ts`. */
const looks = allLooks.filter(
  ({ name }) => process.env['TICKETMAILD_SCREENSHOTS'] !== undefined || name === 'light' || name === 'dark-narrow',
);

/**
 * Takes all pictures of the page as it stands, and gives what axe finds and what can be scrolled sideways, a line each.
 */
export async function pictured(page: Page, name: string, folder = picturesFolder): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const look of looks) {
    await page.setViewportSize({ width: look.width, height: 900 });
    await page.emulateMedia({ colorScheme: look.scheme });
    await screenshot(page, folder, `${name}-${look.name}`);
    wrong.push(...(await axeFindings(page)).map((found) => `${name}, ${look.name}: ${found}`));
    const pixels = await sidewaysPixels(page);
    if (pixels > 0) wrong.push(`${name}, ${look.name}: ${pixels} pixels wider than the window`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });
  return wrong;
}
