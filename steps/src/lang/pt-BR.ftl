# O que as etapas escrevem para as pessoas guardarem. `en.ftl` tem as mesmas chaves.

# Datas e números
date-and-time = %d/%m/%Y %H:%M:%S
decimal-separator = ,

# deploy-log: como a execução terminou
status-unsettled = Em andamento
status-succeeded = Sucesso
status-warned = Sucesso (com avisos)
status-unchanged = Nada mudou
status-down = Fora do ar
status-rolled-back = Rollback
status-failed = Falha
status-stuck = Falha (rollback incompleto)

# deploy-log: as linhas de um registro
entry-run = Execução: { $run }
entry-times = Início: { $started }; fim: { $ended }; duração: { $duration }
entry-version = Versão: { $version }
entry-version-change = Versão: { $version } (anterior: { $previous })
entry-previous = Versão anterior: { $previous }
entry-downtime = Indisponibilidade: { $downtime }
entry-downtime-approximate = Indisponibilidade: { $downtime } (aprox.)
entry-serves = Quem atende: { $version }
entry-serves-new = Quem atende: a versão nova
entry-serves-old = Quem atende: a versão anterior
entry-serves-unclear = O serviço responde, e não é certo com qual versão.
entry-down = Nada atende: o serviço não responde.
entry-aborted = Desfeita a pedido do operador, antes do fim.
entry-rolled-back = Desfeita a pedido do operador, depois de ter terminado com sucesso.
entry-nothing-changed = Nada havia sido alterado.
entry-nothing-owed = Nada do que havia sido feito precisa ser desfeito.
entry-failed = Etapa com falha: { $step }
entry-error = Erro: { $error }
entry-owed = Ainda por desfazer: { $steps }
entry-written-off = Não desfeito: { $steps }

# approval
approval-how = Responda com `almaplan resolve { $run } { $step } done` ou `almaplan resolve { $run } { $step } not-done`.
