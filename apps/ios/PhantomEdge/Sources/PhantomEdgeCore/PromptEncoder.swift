/// A template with its tokenizer: from a question to ids in which the template alone brings control tokens.
///
/// A tokenizer cuts its added tokens out of a text wherever they are written, also inside a question: `</s>` there would
/// be the token that ends a text. Such a question is refused.
struct PromptEncoder: Sendable {
    let template: PromptTemplate
    let tokenizer: Tokenizer

    /// The ids of a first prompt. Throws `PhantomEdgeError.input` for a question that would bring a control token.
    func first(_ question: String, imageTokens: Int?) throws -> [Int] {
        let opening = template.opening(imageTokens: imageTokens)
        return try encode(question, opening + template.asking(question), without: opening + template.asking(""))
    }

    /// The ids of what follows an answer, from its end token on. Throws as `first` does.
    func next(_ question: String) throws -> [Int] {
        try encode(question, template.next(question), without: template.next(""))
    }

    /// The tokens of an answer as they stand behind the prompt. Throws `PhantomEdgeError.input` for one that would bring a
    /// control token.
    func answer(_ text: String) throws -> [Int] {
        let start = try tokenizer.encode(template.assistantStart)
        let whole = try tokenizer.encode(template.assistantStart + text)
        let ids = whole.starts(with: start) ? Array(whole[start.count...]) : try tokenizer.encode(text)
        if let name = controls(ids).first.flatMap({ tokenizer.controlTokens[$0] }) {
            throw PhantomEdgeError.input(
                "the choice holds \(name), which is reserved for the prompt: remove it")
        }
        return ids
    }

    private func encode(_ question: String, _ whole: String, without blank: String) throws -> [Int] {
        let scalars = Array(question.unicodeScalars)
        for (_, token) in tokenizer.controlTokens.sorted(by: { $0.key < $1.key })
        where scalars.contains(Array(token.unicodeScalars)) {
            throw PromptTemplate.reserved(token)
        }
        let ids = try tokenizer.encode(whole)
        // Compared as ids too, because a tokenizer also finds tokens in its normalised form of a text.
        guard controls(ids) == controls(try tokenizer.encode(blank)) else {
            let name = controls(try tokenizer.encode(question)).first.flatMap { tokenizer.controlTokens[$0] }
            throw PromptTemplate.reserved(name ?? "a control token")
        }
        return ids
    }

    // What stands for an unknown character is no sign that its name was written.
    private func controls(_ ids: [Int]) -> [Int] {
        ids.filter { tokenizer.controlTokens[$0] != nil && $0 != tokenizer.unknownId }
    }
}
