import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { parseSync } from 'vite'
import { afterEach, describe, expect, it } from 'vitest'

import { chooseLanguage } from '../src/i18n/choose'
import { type Key, type Language, LANGUAGES, matching, number, text, TEXTS, useLanguage } from '../src/i18n/text'

afterEach(() => useLanguage('en'))

const places = (words: string) => (words.match(/\{\w+\}/g) ?? []).sort()
const keys = Object.keys(TEXTS.en) as Key[]

describe('texts', () => {
  it.each(LANGUAGES.map((language) => [language]))('are complete in %s, with the same places', (language) => {
    expect(Object.keys(TEXTS[language]).sort()).toEqual([...keys].sort())
    for (const key of keys) {
      expect(TEXTS[language][key].trim(), key).not.toBe('')
      expect(places(TEXTS[language][key]), key).toEqual(places(TEXTS.en[key]))
    }
  })

  it('are typeset as the language wants it', () => {
    for (const [key, words] of Object.entries(TEXTS.de)) expect(words, key).not.toMatch(/["“](?=\w)|'/)
    for (const [key, words] of Object.entries(TEXTS.fr)) expect(words, key).not.toMatch(/'|[^\s][:;!?](\s|$)/)
    for (const [key, words] of Object.entries(TEXTS.en)) expect(words, key).not.toMatch(/'/)
  })

  it('are all used', () => {
    const source = files('src').concat('index.html', 'bench.html').map((path) => readFileSync(path, 'utf8')).join('\n')
    const groups = [...source.matchAll(/`([a-z]+\.)\$\{/g)].map(([, group]) => group as string)
    const used = (key: string) => source.includes(`'${key}'`) || source.includes(`"${key}"`) || groups.some((group) => key.startsWith(group))
    expect(keys.filter((key) => !used(key))).toEqual([])
  })

  it('fill their places, and an app may have its own', () => {
    useLanguage('de', { de: { 'crop.all': 'ganz' }, fr: { 'crop.all': 'x' } })
    expect(text('crop.all')).toBe('ganz')
    expect(text('loading.bytes', { loaded: '1 MB', total: '2 MB' })).toBe('1 MB von 2 MB')
    expect(number(1234.5, 1)).toBe('1.234,5')
  })
})

describe('the language', () => {
  it.each([
    [LANGUAGES, null, null, ['fr-CA', 'en'], 'fr', null],
    [LANGUAGES, null, 'de', ['fr'], 'de', null],
    [LANGUAGES, 'fr', 'de', ['en'], 'fr', null],
    [LANGUAGES, 'DE_at', null, ['en'], 'de', null],
    [LANGUAGES, 'xx', null, ['de'], 'de', 'xx'],
    [LANGUAGES, null, 'xx', ['it', 'fr'], 'fr', null],
    [LANGUAGES, null, null, ['it'], 'en', null],
    [['de', 'fr'], 'en', null, ['en-US'], 'de', 'en'],
    [['fr'], '', null, [], 'fr', ''],
  ] as [Language[], string | null, string | null, string[], Language, string | null][])(
    'out of %j by address %j, choice %j, browser %j is %s',
    (offered, address, chosen, browser, language, missing) => {
      expect(chooseLanguage(offered, address, chosen, browser)).toEqual({ language, missing })
    },
  )

  it('is matched by its first part', () => {
    expect(matching(LANGUAGES, ['gsw', 'de-CH-1996'])).toBe('de')
    expect(matching(LANGUAGES, ['english'])).toBe(null)
  })
})

describe('no text is hard-coded', () => {
  it.each([['index.html'], ['bench.html']])('in %s', (path) => {
    const html = readFileSync(path, 'utf8').replaceAll(/<!--.*?-->|<code>.*?<\/code>/gs, '') // commands are the same everywhere
    const said = [...html.matchAll(/>([^<]*\p{L}[^<]*)</gu)].map(([, words]) => words?.trim())
    expect(said.filter((words) => !NAMES.has(words as string))).toEqual([])
    const attributes = [...html.matchAll(/ (aria-label|placeholder|title|alt)="([^"]*)"/g)].map(([all]) => all)
    expect(attributes).toEqual([])
    for (const [, key] of html.matchAll(/data-(?:text|label|placeholder|content)="([^"]+)"/g)) expect(keys).toContain(key)
  })

  it('in the code', () => {
    const paths = files('src').filter((path) => !path.includes(join('src', 'i18n')) && !NOT_SHOWN.has(path))
    expect(paths.length).toBeGreaterThan(20)
    const said = paths.flatMap((path) => sentences(readFileSync(path, 'utf8')).map((words) => `${path}: ${words}`))
    expect(said).toEqual([])
  })

  it('and this test would see one', () => {
    expect(sentences("status.set('The model is ready')")).toEqual(['The model is ready'])
    expect(sentences('text(`Loading ${n} files`)')).toEqual(['Loading … files'])
    expect(sentences("make('p', '', 'Pause')")).toEqual(['Pause'])
    expect(sentences("/** Not this. */ import x from 'y'; throw new TypeError('For a developer')")).toEqual([])
  })
})

/** What is no text of ours. */
const NAMES = new Set(['Phantom Edge', 'phantom-edge bench'])
/** What is said to who writes app.json, or to the terminal; in English everywhere. */
const NOT_SHOWN = new Set([join('src', 'config.ts'), join('src', 'bench', 'bench_worker.ts'), join('src', 'bench', 'main.ts'), join('src', 'sw.ts')])

function files(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts')).map((name) => join(folder, name))
}

interface Node {
  readonly type: string
  readonly [field: string]: unknown
}

/** Texts in code that a person could read: several words, or one with a capital; but for types, imports and errors. */
function sentences(code: string): string[] {
  const said: string[] = []
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(walk)
    if (typeof value !== 'object' || value === null || !('type' in value)) return
    const node = value as Node
    if (/^(TS(?!As|NonNull|Satisf)|Import|ExportNamed)/.test(node.type) && node.type !== 'ExportNamedDeclaration') return
    if (node.type === 'NewExpression' && /Error$/.test((node.callee as { name?: string }).name ?? '')) return
    if (node.type === 'BinaryExpression' || node.type === 'SwitchCase') return walk(node.type === 'SwitchCase' ? node.consequent : [])
    if (node.type === 'Literal' && typeof node.value === 'string') keep(node.value)
    if (node.type === 'TemplateLiteral') {
      const parts = (node.quasis as { value: { cooked: string } }[]).map(({ value: { cooked } }) => cooked)
      keep(parts.join('…').replaceAll('…', parts.length > 1 ? '…' : ''))
    }
    for (const [name, field] of Object.entries(node)) if (name !== 'key' && name !== 'quasis') walk(field)
  }
  const keep = (words: string): void => {
    const isSentence = /\p{L}{2,}[,.:]? \p{L}{2,}/u.test(words) || /^\p{Lu}\p{Ll}+$/u.test(words) || /… \p{L}{3,}/u.test(words)
    if (isSentence && !CODE.test(words)) said.push(words)
  }
  const { program, errors } = parseSync('code.ts', code)
  expect(errors).toEqual([])
  walk(program)
  return said
}

/** Words that only a program reads: keys, selectors, types of elements, style, roles. */
const CODE =
  /^(Arrow(Left|Right|Up|Down)|Page(Up|Down)|Escape|Enter|Tab|[\w#.[\]-]+(, [\w#.[\]-]+)+|\(prefers-.*\)|.*void main\(\).*|translate\(.*|immutable.*|[a-z]+( [a-z]+)?\[.*|.*data-[a-z].*)$/s
